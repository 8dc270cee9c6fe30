"""The search for the nearest decision boundary, which minimal-norm attacks share, in any space.

Known as DeepFool (Moosavi-Dezfooli, Fawzi & Frossard 2016): the margins to the other classes are linearised, their
gradients projected on the subspace, and a step is taken to the nearest of these hyperplanes. Once the label has
changed, bisection along the ray from the start finds the boundary. The point is then refined, as in FAB (Croce & Hein
2020): from halfway between it and the point of its tangent hyperplane nearest to the start, the search begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..errors import integer, real
from ..subspaces import Subspace, norms
from .gradient import differentiable, input_gradient, labelled, unit
from .scores import Model

OVERSHOOT, LEAST = 0.02, 1e-6
"""A step exceeds the distance from the hyperplane by this share, as in DeepFool, and by this length."""

STUCK, PUSHED = 0.01, 64.0
"""An image is given up if aiming that many times as far as its hyperplane gains less than that share of the way."""

STEEPER = 4.0
"""Refinements leave out a class whose margin would have to be that many times as steep as the steepest one measured at
the point for its hyperplane to be the nearest (of two trained networks, at most 2.4 times as steep ones were met)."""

REFINING_STEPS = 5
"""Largest number of steps of one refinement."""

Confine = Callable[[Tensor, Tensor], Tensor]
"""Shifts ``(b, *shape)`` and the indices of their points ``(b,)`` to the nearest shifts that are allowed."""


@dataclass(frozen=True)
class Boundary:
    """Points on decision boundaries.

    Attributes:
        shift: Point minus start, float64 ``(B, *shape)``.
        crossed: Whether the label is wrong there, bool ``(B,)``.
        steps: Number of steps to the first wrong label, or to the last one, int64 ``(B,)``.
        first: Unit vector of the first step, float64 ``(B, *shape)``; that to the nearest hyperplane where the label is
            wrong at the start.
    """

    shift: Tensor
    crossed: Tensor
    steps: Tensor
    first: Tensor

    @property
    def norms(self) -> Tensor:
        """L2 norms of the shifts, float64 ``(B,)``: infinite where no boundary was found."""
        return torch.where(self.crossed, norms(self.shift, "l2").flatten(), inf)


@dataclass(frozen=True)
class Search:
    """The search, for given points.

    Attributes:
        model: The model: points to scores ``(B, K)``, K ≥ 2.
        start: The points, ``(B, *shape)``; the model reads points of their dtype.
        labels: True labels, int64 ``(B,)``.
        subspace: Subspace that shifts are confined to, or one per point; None for the whole space.
        confine: Projection on the allowed shifts, a convex set that contains 0; None if the subspace is that set.
        classes: Number of other classes considered in each step, those of the largest scores.
        steps: Largest number of steps.
        trust: Largest length of a step.
        bisections: Number of halvings of the segment on which the label changes.
        refinements: Number of refinements.

    Raises:
        ValueRangeError: A number is out of its range.
    """

    model: Model
    start: Tensor
    labels: Tensor
    subspace: Subspace | None
    confine: Confine | None
    classes: int
    steps: int
    trust: float
    bisections: int
    refinements: int

    def __post_init__(self) -> None:
        for name, least in (("classes", 1), ("steps", 1), ("bisections", 0), ("refinements", 0)):
            integer(getattr(self, name), f"the number of {name}", least)
        real(self.trust, "trust", above=True)

    def run(self) -> Boundary:
        """Search from every point whose label is right; the shift of the others is 0."""
        shift, steps = torch.zeros_like(self.start, dtype=torch.float64), torch.zeros_like(self.labels)
        every = torch.arange(len(shift), device=shift.device)
        crossed, plane = self._wrong(shift, every), self.linearised(shift, every, self.subspace)
        right = (~crossed).nonzero()[:, 0]
        shift[right], crossed[right], steps[right] = self._from(shift[right], right, self.steps, plane.at(right))
        ends = right[crossed[right]]
        for _ in range(self.refinements if len(ends) else 0):
            here = None if self.subspace is None else self.subspace.at(ends)
            tangent = self.linearised(shift[ends], ends, here, STEEPER)
            foot = _dot(tangent.direction, shift[ends]) * tangent.direction
            found, wrong, _ = self._from(self._confined((shift[ends] + foot) / 2, ends), ends, REFINING_STEPS)
            smaller = wrong.view(-1, *[1] * (shift.ndim - 1)) & (norms(found, "l2") < norms(shift[ends], "l2"))
            shift[ends] = torch.where(smaller, found, shift[ends])
        return Boundary(shift, crossed, steps, plane.direction)

    def _from(
        self, shift: Tensor, points: Tensor, steps: int, first: Hyperplane | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Search from given shifts of the points at given indices: shifts, whether the label is wrong, steps.

        ``first`` are the nearest hyperplanes at the start; refinements have none.
        """
        shift, count = shift.clone(), torch.zeros_like(points)
        crossed = self._wrong(shift, points)
        active = (~crossed).nonzero()[:, 0]
        here = None if self.subspace is None else self.subspace.at(points[active])
        push = shift.new_ones(len(shift), *[1] * (shift.ndim - 1))
        for step in range(steps):
            if not len(active):
                break
            if first is not None and step == 0:
                plane = first.at(active)
            else:
                steeper = STEEPER if first is None else inf
                plane = self.linearised(shift[active], points[active], here, steeper)
            wanted = ((1 + OVERSHOOT) * plane.distance + LEAST).clamp(max=self.trust)
            moved = self._confined(shift[active] + push[active] * wanted * plane.direction, points[active])
            # Where the confinement undoes a part of the step, the next one aims further.
            gained = _dot(plane.direction, moved - shift[active])
            push[active] *= (wanted / gained.clamp(min=LEAST * wanted)).clamp(1, 4)
            stuck = (gained <= STUCK * wanted).flatten() & (push[active] >= PUSHED).flatten()
            stuck |= (moved == shift[active]).flatten(1).all(1)
            shift[active], crossed[active] = moved, self._wrong(moved, points[active])
            count[active] += 1
            left = (~crossed[active] & ~stuck).nonzero()[:, 0]
            if len(left) < len(active):
                active, here = active[left], None if here is None else here.at(left)
        ends = crossed.nonzero()[:, 0]
        shift[ends] *= self._bisected(shift[ends], points[ends])
        return shift, crossed, count

    def _bisected(self, shift: Tensor, points: Tensor) -> Tensor:
        """The share of each shift at which the label changes; it is right at 0 and wrong at 1."""
        low, high = (shift.new_full((len(shift), *[1] * (shift.ndim - 1)), end) for end in (0.0, 1.0))
        for _ in range(self.bisections if len(shift) else 0):
            middle = (low + high) / 2
            wrong = self._wrong(middle * shift, points).view_as(middle)
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        return high

    def _confined(self, shift: Tensor, points: Tensor) -> Tensor:
        return shift if self.confine is None else self.confine(shift, points)

    @torch.no_grad()
    def _wrong(self, shift: Tensor, points: Tensor) -> Tensor:
        x, labels = (self.start[points] + shift).to(self.start.dtype), self.labels[points]
        return labelled(self.model(x), labels).argmax(1) != labels

    def linearised(self, shift: Tensor, points: Tensor, subspace: Subspace | None, steeper: float = inf) -> Hyperplane:
        """The nearest of the hyperplanes on which the linearised margins vanish, within the subspace.

        Args:
            shift: Shifts at which the model is linearised, ``(b, *shape)``.
            points: Indices of their points, ``(b,)``.
            subspace: The subspace of these points.
            steeper: How much steeper than those measured a margin is taken to be at most; infinite for no limit.
        """
        distance = torch.full((len(points), *[1] * (shift.ndim - 1)), inf, dtype=torch.float64, device=shift.device)
        direction = torch.zeros_like(shift)
        steepest = torch.zeros_like(distance)
        active = torch.arange(len(points), device=points.device)
        here = subspace
        graph = self._margins(shift, points, active)
        for k in range(graph.margins.shape[1] if len(points) else 0):
            if k:
                margin = graph.margins.detach()[graph.places(active), k].double().view_as(steepest[active])
                bound = steeper * steepest[active] * distance[active]  # NaN bounds nothing
                left_out = (distance[active] == 0) | (margin >= bound)
                if bool(left_out.any()):
                    active = active[~left_out.flatten()]
                    here = None if subspace is None else subspace.at(active)
                if not len(active):
                    break
                if 2 * len(active) <= len(graph.rows):  # a graph of these alone costs less to go through
                    graph = self._margins(shift, points, active)
            margin, slope = graph.slope(active, k)
            steepest[active] = torch.maximum(steepest[active], norms(slope, "l2"))
            slope = slope if here is None else here.project(slope)
            size = norms(slope, "l2")
            away = torch.where(size > 0, margin.view_as(size).clamp(min=0) / size, inf)
            nearer = away < distance[active]
            distance[active] = torch.where(nearer, away, distance[active])
            direction[active] = torch.where(nearer, -unit(slope, "l2"), direction[active])
        return Hyperplane(distance, direction)

    def _margins(self, shift: Tensor, points: Tensor, rows: Tensor) -> _Margins:
        """The least margins at some of the shifts."""
        with torch.inference_mode(False), torch.enable_grad():
            start, labels = self.start[points[rows]], self.labels[points[rows]].clone()
            x = (start + shift[rows]).to(start.dtype).clone()
            x.requires_grad_()
            scores = labelled(self.model(x), labels)
            scores = differentiable(scores) if len(x) else scores
            others = scores.detach().scatter(1, labels[:, None], -inf).argsort(1, descending=True)[:, :-1]
            margins = scores.gather(1, labels[:, None]) - scores.gather(1, others[:, : self.classes])
        return _Margins(rows, x, margins)


@dataclass(frozen=True)
class _Margins:
    """Margins with what their slopes are computed from.

    Attributes:
        rows: Which shifts they belong to, in ascending order, ``(b,)``.
        x: The points, ``(b, *shape)``.
        margins: Margins to other classes in ascending order, ``(b, classes)``.
    """

    rows: Tensor
    x: Tensor
    margins: Tensor

    def places(self, of: Tensor) -> Tensor:
        """Where some of the rows are."""
        return torch.searchsorted(self.rows, of)

    def slope(self, of: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k-th margin of some rows, and its gradient with respect to the point, float64."""
        places = self.places(of)
        with torch.inference_mode(False), torch.enable_grad():
            margin = self.margins[places, k]
            gradient = input_gradient(margin.sum(), self.x)
        return margin.detach().double(), gradient[places].double()


@dataclass(frozen=True)
class Hyperplane:
    """One hyperplane per point.

    Attributes:
        distance: Distance from it, float64 ``(b, 1, …, 1)``; infinite where no margin has a slope in the subspace.
        direction: Unit vector towards it, float64 ``(b, *shape)``; 0 there.
    """

    distance: Tensor
    direction: Tensor

    def at(self, points: Tensor) -> Hyperplane:
        """The hyperplanes of the points at given indices ``(b,)``."""
        return Hyperplane(self.distance[points], self.direction[points])


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))
