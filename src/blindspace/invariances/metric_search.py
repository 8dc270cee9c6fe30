"""The search where much must stay: one image at a time, in the metric of the affine front.

Where few equations hold, ``_search`` follows the level set of many images at once with steps of least size. Thousands
of equations leave directions that move early features, and such steps leave the region where these are linear.

At a base point, all rows of the Jacobian J are computed. The predictor goes along a direction in N(J), the corrector
back to F(x + δ) = F(x) by Gauss-Newton steps p = −H⁻¹Jᵀ(J H⁻¹Jᵀ)⁻¹ r, of least norm √⟨p, H p⟩, whose J is that of the
base (the chord method): one run of the network each. If they do not contract, J is computed anew; if that does not help
either, the step is made shorter, which is how kinks of piecewise-linear networks are passed.

H = AᵀA / ‖A‖² + μI with the affine front A: among all directions that the layer does not see, those that change the
first features least keep J valid longest. Values at the border of the box are held during a correction, and every point
lies in the box, to the last bit. Allgower & Georg, Introduction to Numerical Continuation Methods (2003), chapters 3-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..networks import Network
from ..subspaces.known import Known
from ._search import Wanted
from .demands import Demands, Rows
from .farthest import farthest
from .front_space import SMALL, front_space

MU = 1e-4
"""Weight μ of plain size in the metric H."""

HALVINGS, CORRECTIONS, ANEW = 5, 30, 2
"""Numbers of shorter steps tried, of corrections by one Jacobian, and of Jacobians computed on the way of one step."""

HELD, CUT = 8, 0.02
"""Number of times that values at the border of the box are held anew in one correction, and the share of a correction
that may be cut off there."""

SLOW = 0.02
"""Share of the size that is wanted by which a step must make a perturbation larger."""

CONTRACTS = 0.6
"""Factor by which a correction must reduce what is to vanish, on average over three of them."""

ROUNDING = 1e-7
"""Share of the largest singular value, as the root of an eigenvalue in float64, up to which one counts as 0."""

NOTHING = 1e-3
"""Share of a direction that must be left in the nullspace of the Jacobian."""


@dataclass(eq=False)
class Metric:
    """The metric H, and the harmless perturbations of the front, as matrices.

    Attributes:
        factor: Cholesky factor of H, ``(n, n)``; None for H = I.
        front: Orthonormal rows that span the nullspace of the front, ``(dim, n)``; None if it is too large.
    """

    factor: Tensor | None
    front: Tensor | None

    def solve(self, v: Tensor) -> Tensor:
        """H⁻¹ v, ``(n, k)``."""
        found: Tensor = v if self.factor is None else torch.cholesky_solve(v, self.factor)
        return found

    def beyond(self, v: Tensor) -> Tensor:
        """The part of v, ``(n,)``, that is orthogonal to the nullspace of the front."""
        return v if self.front is None else v - self.front.T @ (self.front @ v)


@dataclass(eq=False)
class Base:
    """The equations at a base point: J p = −r for what must stay, and, if asked for, none of the front's nullspace.

    Attributes:
        rows: Rows of the Jacobian.
        matrix: All equations, ``(k, n)``.
        free: Which values of the input steps may move, ``(n,)``.
    """

    rows: Rows
    matrix: Tensor
    metric: Metric
    free: Tensor = field(init=False)
    _lower: Tensor = field(init=False)
    _plain: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._plain = _factor(self.matrix @ self.matrix.T)
        self.hold(torch.ones(self.matrix.shape[1], dtype=torch.bool))

    def hold(self, free: Tensor) -> None:
        """Let steps move the values in ``free`` only."""
        self.free = free
        self._back = self.metric.solve((self.matrix * free).T) * free[:, None]
        self._lower = _factor(self.matrix @ self._back)

    def release(self) -> None:
        """Let steps move all values again."""
        if not bool(self.free.all()):
            self.hold(torch.ones_like(self.free))

    def step(self, r: Tensor) -> Tensor:
        """The step of least norm that undoes r, ``(k,)`` to ``(n,)``."""
        found: Tensor = -self._back @ torch.cholesky_solve(r[:, None], self._lower)[:, 0]
        return found

    def along(self, v: Tensor) -> Tensor:
        """The part of v that changes none of the equations: v − H⁻¹Jᵀ(J H⁻¹Jᵀ)⁻¹ J v."""
        for _ in range(2):  # the second pass removes the rounding of the first
            v = v + self.step(self.matrix @ v)
        return v

    def project(self, v: Tensor) -> Tensor:
        """The orthogonal projection on the nullspace of the equations, ``(B, n)``."""
        for _ in range(2):
            undone: Tensor = torch.cholesky_solve(self.matrix @ v.T, self._plain).T @ self.matrix
            v = v - undone
        return v


def _factor(gram: Tensor) -> Tensor:
    """Cholesky factor of a Gram matrix, shifted by the least that makes it positive definite in float64."""
    largest = gram.diagonal().max().clamp(min=1e-300)
    for shift in (1e-14, 1e-12, 1e-10):
        shifted = gram + shift * largest * torch.eye(len(gram), dtype=gram.dtype)
        lower: Tensor
        lower, failed = torch.linalg.cholesky_ex(shifted)
        if not int(failed):
            return lower
    raise ValueRangeError(
        "the Jacobian of what must stay holds NaN or infinite values, or has an infinite range of sizes"
    )


@dataclass(eq=False)
class MetricSearch:
    """The search for one image.

    Attributes:
        demands: What must stay.
        measure: Computes the metric H and the front's nullspace, when they are first needed.
        x: The image, ``(1, *shape)``, float64, inside the box.
        low: Lower bounds of images; equal to x where nothing may change.
        high: Upper bounds.
        wanted: What is wanted.
        generator: Source of the random directions.
    """

    demands: Demands
    measure: Callable[[], Metric]
    x: Tensor
    low: Tensor
    high: Tensor
    wanted: Wanted
    generator: torch.Generator
    reason: str = ""
    computed: int = 0
    rows_computed: int = 0
    runs: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self._whole = float(self.x.norm())
        self._at = self.demands(self.x)
        self._scale = self.demands.scale(self._at)
        self._strict = self.wanted.beyond

    @property
    def metric(self) -> Metric:
        """The metric H."""
        return self.measure()

    def change(self, y: Tensor) -> Tensor:
        """The relative change of what must stay at an image, ``(dim,)``."""
        self.runs += 1
        return ((self.demands(y) - self._at) * self._scale)[0]

    def measured(self, delta: Tensor) -> float:
        """The size of a perturbation that counts."""
        flat = delta.flatten()
        return float((self.metric.beyond(flat) if self.wanted.beyond else flat).norm()) / self._whole

    def best(self, start: Tensor, goal: Tensor | None) -> Tensor:
        """The best image found from one at which nothing has changed, or toward a picture at x + a goal."""
        x, best = self.x, start
        if goal is not None:
            return self.run(best, goal, True)
        while True:
            drawn = torch.randn(x.shape, generator=self.generator, dtype=torch.float64)
            direction = self.metric.solve(drawn.view(-1, 1)) if self.wanted.beyond else drawn
            if self.wanted.beyond:
                direction = self.metric.beyond(direction.flatten())
            before, steps = self.computed, self.steps
            found = self.run(x, direction.view_as(x), False)
            if self.measured(found - x) > self.measured(best - x):
                best = found
            if self.measured(best - x) >= self.wanted.size:
                self.reason = ""
                return best
            if self.rows_computed >= self.wanted.products or self.computed == before or self.steps == steps:
                return best

    def run(self, start: Tensor, direction: Tensor, toward: bool) -> Tensor:
        """The best image found.

        Args:
            start: An image at which nothing has changed, ``(1, *shape)``.
            direction: A direction, or a perturbation to come near to, ``(1, *shape)``.
            toward: Whether it is the latter.
        """
        best, length, ended, slow = start, 1.0, False, 0
        while not ended and self.rows_computed < self.wanted.products:
            base = self._base(best)
            if base is None:
                return best
            before, taken = self.measured(best - self.x), self.steps
            best, length, ended = self._advance(best, base, direction, length, toward)
            direction = best - self.x if self.steps and not toward else direction
            slow = (
                slow + 1
                if self.steps > taken and self.measured(best - self.x) < before + SLOW * self.wanted.size
                else 0
            )
            if slow == 3 and not toward:
                self.reason = "steps become short: the features bend, or units switch, in every direction that is left"
                return best
        if not ended:
            self.reason = f"{self.computed} Jacobians were computed; more may lead further"
        return best

    def _base(self, y: Tensor) -> Base | None:
        """The equations at a point; None if they leave nothing, or are too many."""
        most = int(self.demands.most(y)[0])
        fixed = len(self._orthogonal)
        left = int((self.low < self.high).sum()) - fixed
        if left <= 0:
            self.reason = f"no more values may change than the front has directions to be orthogonal to, {fixed}"
            return None
        if most >= left:
            most = left - self._nullity(y, left)
            if most == left:
                return None
        if most > self.wanted.largest:
            self.reason = f"the Jacobian at the image has {most} rows, more than the limit of {self.wanted.largest}"
            return None
        rows = self.demands.rows(y, self._scale, most, self.generator)
        self.computed += 1
        self.rows_computed += len(rows.matrix[0])
        equations = rows.matrix[0]
        if fixed:
            weight = equations.norm() / max(len(equations), 1) ** 0.5
            equations = torch.cat([equations, weight * self._orthogonal])
        return Base(rows, equations, self.metric)

    @property
    def _orthogonal(self) -> Tensor:
        """Orthonormal rows that a perturbation must be orthogonal to, ``(k, n)``."""
        front = self.metric.front if self._strict else None
        return self.x.new_zeros(0, self.x.numel()) if front is None else front

    def _nullity(self, y: Tensor, left: int) -> int:
        """The dimension of the nullspace of the Jacobian at a point, measured on enough of its rows."""
        n = self.x.numel()
        if n > self.wanted.largest or not self.wanted.explain:
            self.reason = (
                f"the Jacobian may have full column rank: {left} values of the image may change, and as many move"
            )
            return 0
        rows = self.demands.rows(y, self._scale, left, self.generator, mixed=False).matrix[0]
        self.computed += 1
        self.rows_computed += len(rows)
        rows = rows * (self.low < self.high).flatten()
        rows = rows - rows @ self._orthogonal.T @ self._orthogonal
        values = torch.linalg.eigvalsh(rows.T @ rows)[n - left :].clamp(min=0).sqrt()
        null = int((values <= ROUNDING * values[-1]).sum())
        self.reason = (
            f"the Jacobian has full column rank {left} there: its smallest singular value is at least "
            f"{float(values[0] / values[-1]):.1e} of the largest"
        )
        return null

    def _residual(self, base: Base, y: Tensor) -> tuple[Tensor, float]:
        """What the equations of a base see of the change at a point, and the size of all of it."""
        change = self.change(y)
        found, total = base.rows.combine(change[None])[0], float(change.norm())
        extra = len(base.matrix) - len(found)
        if extra:
            rest = base.matrix[-extra:] @ (y - self.x).flatten()
            found, total = torch.cat([found, rest]), max(total, float(rest.norm()))
        return found, total

    def _advance(
        self, y: Tensor, base: Base, direction: Tensor, length: float, toward: bool
    ) -> tuple[Tensor, float, bool]:
        """One step from a base: the point, the share of the way taken, and whether the search has ended."""
        wanted = self.wanted.size * self._whole
        goal = direction if toward else direction * (1.05 * wanted / direction.norm().clamp(min=1e-300))
        way = (self.x + goal - y).flatten()
        if not toward and self.steps:
            way = goal.flatten() * max(1 - self.measured(y - self.x) / (1.05 * self.wanted.size), 0.02)
        along = base.along(way)
        if float(along.norm()) <= NOTHING * float(way.norm()):
            self.reason = "the Jacobian leaves nothing of the direction: it has full column rank but for rounding"
            return y, length, True
        if not toward:
            along = along * (way.norm() / along.norm())
        step = self._inside(base, y, along, toward)
        if self._strict and float(step.norm()) < 0.1 * float(along.norm()):
            self._strict = False  # the box allows no such change; the front's nullspace may help to keep it
            self.reason = "the pixel range allows too little that is orthogonal to the front's nullspace"
            return y, length, False
        if float(step.norm()) < 1e-6 * self._whole:
            self.reason = "the pixel range leaves nothing of the direction"
            return y, length, True
        share = min(1.0, 2 * length)
        for _ in range(HALVINGS):
            found = self._corrected(y + share * step, base)
            if found is not None:
                self.steps += 1
                done = not toward and self.measured(found - self.x) >= self.wanted.size
                near = toward and float((found - y).norm()) < 1e-3 * float(goal.norm())
                if done:
                    self.reason = ""
                elif near:
                    self.reason = "steps towards the target have become smaller than a thousandth of the way"
                return found, share, done or near
            if self.rows_computed >= self.wanted.products:
                break
            share /= 3
        self.reason = "corrections do not converge even for short steps: the features bend too much there"
        return y, share, True

    def _inside(self, base: Base, y: Tensor, along: Tensor, toward: bool) -> Tensor:
        """The step from a point, in the nullspace of the equations and the box, that is nearest to one."""
        n = along.numel()
        space = Known((n,), n - len(base.matrix), base.project)
        low, high = (self.low - y).view(1, -1), (self.high - y).view(1, -1)
        if torch.equal(along.clamp(low[0], high[0]), along):
            return along.view_as(y)
        part = self.metric.beyond if self.wanted.beyond else None
        return farthest(along[None], space, low, high, 0.0 if toward else float(along.norm()), part).view_as(y)

    def _stepped(self, base: Base, y: Tensor, r: Tensor) -> Tensor:
        """The point after one correction, inside the box: what would leave it is held where it is."""
        for _ in range(HELD):
            step = base.step(r).view_as(y)
            moved = torch.minimum(torch.maximum(y + step, self.low), self.high)
            cut = (y + step - moved).norm()
            if cut <= CUT * step.norm():
                break
            base.hold(base.free & (moved == y + step).flatten())
        return moved

    def _corrected(self, y: Tensor, base: Base) -> Tensor | None:
        """The point after corrections; None if they do not converge."""
        y = torch.minimum(torch.maximum(y, self.low), self.high)
        for renewed in range(ANEW + 1):
            base.release()
            r, size = self._residual(base, y)
            history = [size]
            while size > self.wanted.tolerance and len(history) <= CORRECTIONS:
                moved = self._stepped(base, y, r)
                r, size = self._residual(base, moved)
                if not size < 2 * history[0]:
                    break
                y = moved
                history.append(size)
                if len(history) > 3 and size > CONTRACTS**3 * history[-4]:
                    break
            if history[-1] <= self.wanted.tolerance:
                return y
            if renewed == ANEW or history[-1] > 0.3 * history[0] or self.rows_computed >= self.wanted.products:
                return None
            again = self._base(y)
            if again is None:
                return None
            base = again
        return None


_metrics: WeakKeyDictionary[Network, Metric] = WeakKeyDictionary()


def metric_of(network: Network) -> Metric:
    """The metric of searches, H = AᵀA / ‖A‖² + μI with the affine front A; computed once per network."""
    if network not in _metrics:
        front = network.front
        n = front.in_dim
        if n > SMALL:
            return _metrics.setdefault(network, Metric(None, None))
        columns = front.forward(torch.eye(n, dtype=torch.float64).view(n, *front.in_shape)).flatten(1)
        h = columns @ columns.T / float(front.norm()) ** 2 + MU * torch.eye(n, dtype=torch.float64)
        _metrics[network] = Metric(torch.linalg.cholesky(h), front_space(network, torch.float64).rows)
    return _metrics[network]
