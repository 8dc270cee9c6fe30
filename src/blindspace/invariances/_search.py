"""Large perturbations that change nothing of what must stay, inside the box: a predictor and a corrector, batched.

The predictor goes from a point to the point of the box nearest to a goal where the linearised values stay; the
corrector goes back to F(x + δ) = F(x) by Newton's method with steps of least norm within the box, by the Jacobian of
the base as long as that contracts (the chord method) and then by that of the point itself. Both are nearest points of a
box on a level (``linearised``), so that every point lies in the box to the last bit. The goal lies farther along the
perturbation itself, which makes it larger as the power method does.

At kinks of piecewise-linear networks, where corrections do not converge, the step is made shorter; and what the network
computes on the far side must stay too from then on, as the facets of an active set do. Allgower & Georg, Introduction
to Numerical Continuation Methods (2003), chapters 3-6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .box_bound import norm_bound
from .demands import Demands, Rows
from .equations import Equations, LinearEquations
from .features import Values
from .front_space import FrontSpace
from .implicit import Implicit, Spending

CONTRACTS, CONVERGES = 0.3, 0.7
"""Factors by which a correction by the Jacobian of a base, and a new Jacobian, must reduce what is to vanish."""

SHORTEST = 3e-4
"""Share of the size that is wanted below which no step is tried."""

SLOW, PATIENCE = 0.02, 4
"""Share of the size by which a step must make a perturbation larger, and how many in a row may bring less."""

ARRIVED = 1e-3
"""Share of the way to a target below which a step is the last one."""

ROUNDS = 4
"""Number of times that the goal is moved farther away, where the box cuts a step off."""

MORE = 1.05
"""How far the goal lies beyond the size that is wanted."""

NOTHING = 1e-3
"""Share of a direction that must be left in the nullspace of the Jacobian, and of a step within the box."""

FORMED = 1 << 24
"""Most values of a Jacobian that are formed: beyond, products with it cost less."""

ROUGH, SHARP = 512, 2e-7
"""Number of rows above which they are computed in float32 first, and the lower bound on their singular values, as a
share of the largest, at which that will do: what has changed is measured in the precision of the search all the same.
"""

BUNDLE = 256
"""Number of rows up to which those of the far side of a kink are added."""

ROUNDING = 1e-7
"""Share of the largest singular value, as the root of an eigenvalue in float64, up to which one counts as 0."""

BOX = "the pixel range leaves nothing of the direction"
BOUNDED = "the pixel range allows, by a linear programme, no change of more than"
FULL = "the Jacobian leaves nothing of the direction: it has full column rank but for rounding"
BENT = "corrections do not converge even for short steps: the features bend, or units switch, in every direction tried"
ENDED = "units switch, or the features bend, on every path that was followed to its end"
CORRECTED = "of the image's norm at most was a step that corrections brought back"
NEARED = "steps towards the target have become smaller than a thousandth of the way"
SHORT = "steps become short: the features bend, or units switch, in every direction that is left"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a search.

    Attributes:
        size: ‖δ‖ / ‖x‖.
        beyond: Whether only the part of δ outside the nullspace of the front counts.
        toward: Whether pictures are to be come near to instead.
        tolerance: Relative change of what must stay up to which it counts as unchanged.
        products: Number of products with a Jacobian or its transpose up to which the search goes on.
        largest: Most rows of a Jacobian that are formed.
        explain: Whether singular values are measured where a Jacobian may have full column rank.
    """

    size: float
    beyond: bool
    toward: bool
    tolerance: float
    products: int
    largest: int
    explain: bool


class _State:
    """Where searches stand, of all images; those that are not searched are left alone.

    Attributes:
        going: The images that are still searched.
        y: Their points, ``(B, n)``.
        direction: Their directions or targets.
        share: Share of the predicted step that was taken last.
        slow: Number of steps in a row that brought little.
        far: Points on the far side of a kink that a step has just failed to pass.
    """

    def __init__(self, some: Tensor, start: Tensor, direction: Tensor, x: Tensor) -> None:
        self.going = some
        self.y, self.direction = x.index_copy(0, some, start), x.index_copy(0, some, direction)
        self.share = torch.ones(len(x), dtype=x.dtype)
        self.slow = torch.zeros(len(x), dtype=torch.int64)
        self.far: dict[int, Tensor] = {}

    def take(self, going: Tensor, good: Tensor, found: Tensor, tried: Tensor, share: Tensor) -> None:
        """Go to the points found where that is good, and else remember what was tried."""
        self.y[going[good]] = found[good]
        self.share[going] = torch.where(good, share, share / 4)
        for i, each, at in zip(going.tolist(), good.tolist(), tried, strict=True):
            self.far.pop(i, None)
            if not each:
                self.far[i] = at


class Search:
    """The search for a batch of images.

    Args:
        demands: What must stay.
        x: The images, ``(B, *shape)``, inside the box.
        box: Lower and upper bounds of the images, ``(B, *shape)``; equal to x where nothing may change.
        front: The nullspace of the front.
        wanted: What is wanted.
        generators: Sources of randomness, one per image.
        report: Called with the number of images that are done.

    Attributes:
        hopeful: Whether another direction may lead farther, bool ``(B,)``.
        reasons: Why each image falls short.
        computed: Number of Jacobians per image, int64 ``(B,)``; as the next ones.
        products: Number of products with a Jacobian or its transpose.
        runs: Number of times the network ran.
        steps: Number of steps taken.
    """

    def __init__(
        self,
        demands: Demands,
        x: Tensor,
        box: tuple[Tensor, Tensor],
        front: FrontSpace,
        wanted: Wanted,
        generators: Sequence[torch.Generator],
        report: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.demands, self.wanted, self.generators, self.front = demands, wanted, generators, front
        self.report = report
        self.mixing = torch.Generator().manual_seed(0)
        self.hopeful = torch.ones(len(x), dtype=torch.bool)
        self.shape, self.x = x.shape[1:], x.flatten(1)
        self.box = box[0].flatten(1), box[1].flatten(1)
        self.whole = self.x.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
        self.at = demands(x)
        self.scale = demands.scale(self.at)
        # Orthogonality to the front's nullspace is given up where the box leaves nothing of it. So it does for most
        # subspaces of more equations than the dimension of the cone of the box at x, where a value at its border counts
        # as half a dimension (Amelunxen, Lotz, McCoy & Tropp 2014).
        inside = 0.5 * ((self.x > self.box[0]).double() + (self.x < self.box[1]).double()).sum(1)
        self.strict = (inside > front.dim) & wanted.beyond & (len(front.rows) > 0)
        self.reasons, self.norms = [""] * len(x), dict[int, float]()
        self.full, self.asked = torch.zeros(2, len(x), dtype=torch.bool).unbind(0)
        self.longest = torch.zeros(len(x), dtype=torch.float64)
        self.ended = torch.zeros(len(x), dtype=torch.int64)
        self.local = [""] * len(x)
        self.rough = torch.full((len(x),), demands.rough is not None)
        self.seen = torch.zeros(len(x), dtype=torch.float64)
        self.computed, self.products, self.runs, self.steps = torch.zeros(4, len(x), dtype=torch.int64).unbind(0)

    def counted(self, delta: Tensor) -> Tensor:
        """The part of perturbations whose size counts, ``(B, n)``."""
        return self.front.reject(delta) if self.wanted.beyond else delta

    def random(self, i: int) -> Tensor:
        """A random direction for an image, ``(n,)``."""
        return torch.randn(self.x.shape[1], generator=self.generators[i], dtype=torch.float64).to(self.x)

    def directions(self, some: Tensor) -> Tensor:
        """Random directions for some images that change the front little, ``(b, n)``."""
        return self.front.damped(torch.stack([self.random(i) for i in some.tolist()]))

    def sizes(self, y: Tensor, some: Tensor | None = None) -> Tensor:
        """The sizes that count of points, ``(B, n)``, of all images or some; ``(B,)``."""
        x, whole = (self.x, self.whole) if some is None else (self.x[some], self.whole[some])
        found: Tensor = self.counted(y - x).norm(dim=1) / whole
        return found

    def run(self, some: Tensor, start: Tensor, direction: Tensor) -> Tensor:
        """The best points found, ``(b, n)``.

        Args:
            some: Which images are searched, ``(b,)``.
            start: Points at which nothing has changed, ``(b, n)``.
            direction: Directions, or pictures to come near to, ``(b, n)``.
        """
        w, state = self.wanted, _State(some, start, direction, self.x)
        while True:
            going = self._within_budget(state.going)
            going, base = self._base(state.y, going, state.far)
            if base is None:
                return state.y.index_select(0, some)
            beside = [i in state.far for i in going.tolist()]
            step, ended = self._predicted(state.y, going, base, state.direction, beside)
            # Both sides of a kink may leave nothing together: on one of them a shorter step is left.
            again = going[ended & torch.tensor(beside)]
            for i in again.tolist():
                del state.far[i]
            left = (~ended).nonzero().flatten()
            going, base, step = going[left], base.at(left), step[left]
            self._describe(going, base)
            share = (2 * state.share[going]).clamp(max=1)
            before = self._progress(state.y[going], going, state.direction)
            tried, after, good = state.y[going] + share[:, None] * step, before.clone(), torch.zeros_like(ended[left])
            found = tried.clone()
            for more in range(base.tries):
                rest = (~good).nonzero().flatten()
                if more:
                    rest = rest[self.products[going[rest]] < w.products]
                    share[rest] /= 4
                    tried[rest] = state.y[going[rest]] + share[rest, None] * step[rest]
                if not len(rest):
                    break
                reach = share[rest] * step[rest].norm(dim=1)
                found[rest], ok = self._corrected(tried[rest], going[rest], base.at(rest), reach)
                after[rest] = self._progress(found[rest], going[rest], state.direction)
                good[rest] = ok & (after[rest] > before[rest])
            reach = share * step.norm(dim=1)
            part = torch.where(good, reach / self.whole[going], 0.0).double()
            self.longest[going] = torch.maximum(self.longest[going], part)
            state.take(going, good, found, tried, share)
            self.steps[going[good]] += 1
            if w.toward:
                done = good & (after < before + ARRIVED)
            else:
                moved = going[good]
                state.direction[moved] = state.y[moved] - self.x[moved]
                done = good & (after >= w.size)
                crept = good & (after < before + SLOW * w.size)
                state.slow[going] = torch.where(crept, state.slow[going] + 1, torch.where(good, 0, state.slow[going]))
            short = ~good & (reach < SHORTEST * w.size * self.whole[going])
            slow = ~done & ~short & (state.slow[going] >= PATIENCE)
            for which, words in ((done, NEARED if w.toward else ""), (short, BENT), (slow, SHORT)):
                for i in going[which].tolist():
                    self.ended[i] += words in (BENT, SHORT)
                    self.reasons[i] = words + self._least(i) + self._corrected_most(i) if words else ""
            self.hopeful[going[done]] = False
            state.going = torch.cat([going[~(done | short | slow)], again]).sort().values
            self.report(int((~self.hopeful).sum()))

    def _least(self, i: int) -> str:
        """What products have shown of an image whose Jacobian may have full column rank."""
        if not (self.full[i] and self.seen[i]):
            return ""
        return (
            f"; the Jacobian may have full column rank: {self.products[i]} products found no direction that changes "
            f"what must stay by less than {float(self.seen[i]):.1e} of its largest singular value"
        )

    def _describe(self, some: Tensor, base: LinearEquations) -> None:
        """Note of the points of some images how many directions are free."""
        if not isinstance(base, Equations) or base.sides > 1:
            return
        for i, rank, least in zip(some.tolist(), base.rank.tolist(), base.least.tolist(), strict=True):
            left = self._free(i)
            self.local[i] = (
                f"; the Jacobian leaves {max(left - rank, 0)} of {left} directions free: it has rank {rank}, with "
                f"singular values of at least {least:.1e} of the largest"
            )

    def _free(self, i: int) -> int:
        """How many directions what may change has for an image."""
        left = int((self.box[0][i] < self.box[1][i]).sum())
        return min(left, len(self.x[i]) - self.front.dim) if self.wanted.beyond else left

    def _corrected_most(self, i: int) -> str:
        """What the steps of an image have shown of the kinks around it; nothing before a path has ended at one."""
        if not self.ended[i] or self.wanted.toward:
            return ""
        paths = f"paths in {self.ended[i]} directions end so" if self.ended[i] > 1 else "a path ends so"
        return f"; {paths}, {float(self.longest[i]):.1e} {CORRECTED}{self.local[i]}"

    def _progress(self, y: Tensor, some: Tensor, direction: Tensor) -> Tensor:
        """The sizes that count of points, or how much of the way to their targets is done, ``(b,)``."""
        if not self.wanted.toward:
            return self.sizes(y, some)
        whole, left = (direction[some] - self.x[some]).norm(dim=1), (direction[some] - y).norm(dim=1)
        done: Tensor = 1 - left / whole.clamp(min=torch.finfo(y.dtype).tiny)
        return done

    def _within_budget(self, going: Tensor) -> Tensor:
        """The images for which Jacobians may still be computed."""
        spent = self.products[going] >= self.wanted.products
        for i in going[spent].tolist():
            self.reasons[i] = f"{self.computed[i]} Jacobians were computed; more may lead further"
            if self.ended[i]:
                self.reasons[i] = f"{ENDED}{self._corrected_most(i)}; {self.reasons[i]}"
            self.hopeful[i] = False
        return going[~spent]

    def _predicted(
        self, y: Tensor, some: Tensor, base: LinearEquations, direction: Tensor, beside: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        """Steps within the linearised level and the box, and which images have none.

        Those whose far side of a kink is beside get no reason.
        """
        w, here, off = self.wanted, y[some], y[some] - self.x[some]
        box = self.box[0][some], self.box[1][some]
        left = base.residual((self._values(here, some) - self.at[some]) * self.scale[some], off)
        if w.toward:
            way = direction[some] - here
            reach = way.norm(dim=1)
        else:
            counted = self.counted(direction[some])
            if torch.equal(here, self.x[some]):
                for _ in range(base.quieter):
                    counted = self.counted(self.front.damped(base.along(counted)))
            reach = (MORE * w.size - self.sizes(here, some)).clamp(min=0.02 * w.size) * self.whole[some]
            way = counted * (reach / counted.norm(dim=1).clamp(min=1e-300))[:, None]
        along = base.along(way)
        if base.seen is not None:
            self.seen[some] = base.seen.double()
        nothing = along.norm(dim=1) <= NOTHING * reach
        if not w.toward:
            way = along * (reach / along.norm(dim=1).clamp(min=1e-300))[:, None]
        gap = base.near * reach
        step = base.nearest(here + way, here, left, box, gap) - here
        if not w.toward:
            size = self.counted(step).norm(dim=1)
            growing = torch.ones_like(size, dtype=torch.bool)
            for _ in range(ROUNDS):
                short = ((size < 0.7 * reach) & growing & (size > NOTHING * reach) & ~nothing).nonzero().flatten()
                if not len(short):
                    break
                goal = self.counted(step[short]) * (3 * reach / size)[short, None]
                there = box[0][short], box[1][short]
                again = (
                    base.at(short).nearest(here[short] + goal, here[short], left[short], there, gap[short])
                    - here[short]
                )
                new = self.counted(again).norm(dim=1)
                better = new > 1.05 * size[short]
                growing[short] = better
                step[short[better]], size[short[better]] = again[better], new[better]
            step = step * (reach / size.clamp(min=1e-300)).clamp(max=1)[:, None]
        size = step.norm(dim=1)
        strict = self.strict[some]
        given_up = strict & (size < 0.1 * reach) & ~nothing
        self.strict[some[given_up]] = False
        boxed = ~given_up & (size < (ARRIVED * reach if w.toward else SHORTEST * w.size * self.whole[some]))
        for i, full, cut, two in zip(some.tolist(), nothing.tolist(), boxed.tolist(), beside, strict=True):
            if (full or cut) and not two:
                self.reasons[i] = FULL if full else BOX
                self.hopeful[i] &= not full
                if cut and not w.toward and isinstance(base, Equations):
                    self._bounded(i, base.jacobian.rows[some == i][0])
        step = torch.where(given_up[:, None], 0.0, step)
        return step, nothing | boxed

    def _base(self, y: Tensor, some: Tensor, far: dict[int, Tensor]) -> tuple[Tensor, LinearEquations | None]:
        """The equations at points, and of which images they are; those with none, or too many, are left out."""
        if not len(some):
            return some, None
        most = self.demands.most(self._shaped(y[some]))
        kept = []
        for place, i in enumerate(some.tolist()):
            left = self._free(i)
            if not left:
                self.reasons[i] = "no value may change that the affine front sees"
                self.hopeful[i] = False
                continue
            self.full[i] = most[place] >= left
            if self.full[i] and self.wanted.explain and self._formed(left) and not self.asked[i]:
                self.asked[i] = True
                if self._has_full_rank(y[i], i, left):
                    self.hopeful[i] = False
                    continue
            kept.append(place)
        some, most = some[kept], most[kept]
        if not len(some):
            return some, None
        beside = self.front.rows if bool(self.strict[some].any()) else self.front.rows[:0]
        if not self._formed(int(most.max())):
            self.computed[some] += 1
            points, spending = self._shaped(y[some]), Spending(self.products, self.wanted.products)
            return some, Implicit(self.demands, points, self.scale[some], beside, some, spending, self.norms)
        if int(most.max()) > ROUGH and bool(self.rough[some].all()):
            made = Equations(self._rows(y[some], some, int(most.max()), self.demands.rough), beside)
            if bool((made.rank == made.rows.matrix.shape[1]).all()) and float(made.least.min()) >= SHARP:
                return some, made
            self.rough[some] = False
        rows, sides = self._rows(y[some], some, int(most.max())), 1
        if len(rows.matrix[0]) <= BUNDLE and any(i in far for i in some.tolist()):
            sides, other = 2, self._rows(torch.stack([far.get(i, y[i]) for i in some.tolist()]), some, int(most.max()))
            rows = Rows(
                torch.cat([rows.matrix, other.matrix], 1),
                torch.cat([rows.index, other.index]),
                None if rows.mixing is None or other.mixing is None else torch.cat([rows.mixing, other.mixing]),
            )
        made = Equations(rows, beside)
        made.sides = sides
        made.tries = 1 if len(rows.matrix[0]) <= BUNDLE else made.tries
        return some, made

    def _formed(self, rows: int) -> bool:
        """Whether a Jacobian of so many rows is formed."""
        return rows <= self.wanted.largest and rows * self.x.shape[1] <= FORMED

    def _rows(self, y: Tensor, some: Tensor, most: int, values: Values | None = None) -> Rows:
        rows = self.demands.rows(self._shaped(y), self.scale[some], most, self.mixing, values=values)
        self.computed[some] += 1
        self.products[some] += rows.matrix.shape[1]
        return rows

    def _has_full_rank(self, y: Tensor, i: int, left: int) -> bool:
        """Whether a sample of the rows of the Jacobian at a point has full column rank, as then all of them have.

        If it has not, they may: single rows of a convolution depend on one another more than random combinations do.
        """
        one = self.scale[i : i + 1]
        rows = self.demands.rows(self._shaped(y[None]), one, left, self.generators[i], mixed=False).matrix[0]
        self.computed[i] += 1
        self.products[i] += len(rows)
        rows = rows * (self.box[0][i] < self.box[1][i])
        if self.wanted.beyond:
            rows = self.front.reject(rows)
        gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        values = torch.linalg.eigvalsh(gram)[-left:].clamp(min=0).sqrt()
        if len(values) < left or not bool(values[0] > ROUNDING * values[-1]):
            return False
        self.reasons[i] = (
            f"the Jacobian has full column rank {left} there: its smallest singular value is at least "
            f"{float(values[0] / values[-1]):.1e} of the largest"
        )
        return True

    def _bounded(self, i: int, rows: Tensor) -> None:
        """Say so, and give up, where a linear programme bounds what the box has of the nullspace of some equations."""
        x = self.x[i]
        bound = norm_bound(rows, self.box[0][i] - x, self.box[1][i] - x) / float(self.whole[i])
        if bound < self.wanted.size:
            self.reasons[i] = f"{BOUNDED} {bound:.1e} of the image's norm, to first order"
            self.hopeful[i] = False

    def _corrected(self, y: Tensor, some: Tensor, base: LinearEquations, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Points after corrections, and for which of them nothing has changed.

        A correction longer than the step that led to a point is none: it is given up at once.
        """
        w = self.wanted
        y = torch.minimum(torch.maximum(y, self.box[0][some]), self.box[1][some])
        change, size = self._change(y, some)
        far = torch.zeros(len(y), dtype=torch.bool)
        going, own = torch.arange(len(y)), base
        for renewed in range(2 * base.renewals + 1):
            first = size[going].clone()
            at_work, equations = going, own
            for _ in range(base.corrections):
                left = equations.residual(change[at_work], y[at_work] - self.x[some[at_work]])
                far[at_work] = equations.shortest(left) > reach[at_work]
                working = (~far[at_work] & (size[at_work] > w.tolerance)).nonzero().flatten()
                if not len(working):
                    break
                at_work, equations, left = at_work[working], equations.at(working), left[working]
                images = some[at_work]
                box = self.box[0][images], self.box[1][images]
                moved = equations.nearest(y[at_work], y[at_work], left, box, base.exact * left.norm(dim=1))
                new_change, new = self._change(moved, images)
                better = new < size[at_work]
                quick = new < CONTRACTS * size[at_work]
                taken = at_work[better]
                y[taken], change[taken], size[taken] = moved[better], new_change[better], new[better]
                keep = quick.nonzero().flatten()
                at_work, equations = at_work[keep], equations.at(keep)
                if not len(at_work):
                    break
            if renewed == 2 * base.renewals:
                break
            needed = CONVERGES if renewed < base.renewals else CONTRACTS
            hopeful = ~far[going] & ((size[going] < needed * first) | (renewed == 0))
            budget = self.products[some[going]] < w.products
            going = going[(size[going] > w.tolerance) & hopeful & budget]
            if not len(going):
                break
            index, made = self._base(torch.zeros_like(self.x).index_copy(0, some[going], y[going]), some[going], {})
            if made is None:
                break
            going, own = going[torch.isin(some[going], index)], made
        return y, size <= w.tolerance

    def _values(self, y: Tensor, some: Tensor) -> Tensor:
        self.runs[some] += 1
        return self.demands(self._shaped(y))

    def _change(self, y: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
        """The relative change of what must stay at points, ``(B, dim)``, and its size."""
        change = (self._values(y, some) - self.at[some]) * self.scale[some]
        return change, change.norm(dim=1)

    def _shaped(self, y: Tensor) -> Tensor:
        return y.view(-1, *self.shape)
