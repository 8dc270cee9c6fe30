"""Steps along a level set: beside the straight line to a target, and from there nearer to the target.

The distance from the target has a local minimum on the level at every other kink of a network, so that going downhill
from the image soon stops. A point that follows one moving from the image to the target along the straight line, and
stays on the level near it, does not go downhill and passes them: the distance from the line is small all along. Its
steps are a predictor on the linearised level and a corrector by Newton's method (Allgower & Georg, Introduction to
Numerical Continuation Methods, chapters 3 and 6). At the end of the line it goes downhill, by sequential quadratic
programming: to the point of the pixel range nearest to the target where the linearised values stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor

from ..progress import Progress
from .level import Level
from .linearised import Linearised, nearest_on_level, stacked

STRIDE, SHORT = 4e-3, 5e-4
"""Longest step beside the straight line, as root mean square over the pixels, and the one down to which they shrink
where a step needs another Jacobian; for the points between two steps that of the first is to serve too."""

PULL = 0.3
"""Share of what a step lacks to the point that it follows which it makes up for; with 1 it zigzags across kinks."""

ASTRAY = 1.0
"""How far a correction may move a point, in steps."""

TRUST = 0.02
"""Change of the values, as a share of the largest one, that a step downhill may bring before it is corrected."""

FIRST, LEAST, LARGEST = 4e-3, 1e-4, 2e-2
"""Length of the first, the shortest and the longest step downhill, as root mean square over the pixels."""

GROWS = 1.5
"""Growth of the step after one that brought less than a quarter of the trusted change."""

ARRIVED = 1e-9
"""Distance from the goal at which a path has arrived, as root mean square over the pixels."""

STATIONARY = 1e-3
"""Share of the way to the goal that must lie along the level for the path to go on."""


class End(StrEnum):
    """Why a walk ended."""

    arrived = "arrived"
    stationary = "stationary"
    kinked = "kinked"
    exhausted = "exhausted"


class Walk(NamedTuple):
    """Points on the level one after the other, ``(n,)`` each, and why there are no more."""

    points: list[Tensor]
    end: End


class Walker:
    """Walks along one level set.

    Args:
        level: The level.
        enough: Change at which a point is on the level.
        steps: Largest number of steps of one walk.
        progress: Called with per cent done of one walk, 100, and what is done.
    """

    def __init__(self, level: Level, enough: float, steps: int, progress: Progress) -> None:
        self.level, self.enough, self.steps, self.progress = level, enough, steps, progress

    def path(self, start: Tensor, target: Tensor) -> Walk:
        """The way from a point of the level beside the straight line to a target, then as near to it as it leads."""
        points = self.beside(start, target)
        last = self.walk(points[-1], target)
        return Walk(points + last.points[1:], last.end)

    def beside(self, start: Tensor, target: Tensor) -> list[Tensor]:
        """Points of the level near those of the straight line; to its end, unless the level is lost before."""
        points, share, length, whole = [start], 0.0, STRIDE * len(start) ** 0.5, _apart(start, target)
        for _ in range(self.steps):
            if share >= 1 or whole == 0:
                break
            self.progress(int(100 * share), 100, "toward the target")
            here = points[-1]
            jacobian = self.level.rough(here)
            while True:
                step = min(length / whole, 1 - share)
                ahead = here + step * (target - start)
                ahead = ahead + PULL * (torch.lerp(start, target, share + step) - ahead)
                moved = self.aimed(here, ahead, [jacobian])
                if _apart(moved, here) <= STATIONARY * step * whole:
                    return points
                before = self.level.work.products
                found, values = self.level.correct(moved[None], jacobian, self.enough)
                served = self.level.work.products == before
                if self._is_level(values) and _apart(found[0], moved) <= ASTRAY * length:
                    break
                length /= 2
                if length < LEAST * len(start) ** 0.5:
                    return points
            points.append(found[0])
            share += step
            length = min(length * (GROWS if served else 1 / GROWS), STRIDE * len(start) ** 0.5)
            length = max(length, SHORT * len(start) ** 0.5)
        return points

    def walk(self, start: Tensor, goal: Tensor) -> Walk:
        """Go downhill from a point of the level toward a goal, each step nearer to it than the one before."""
        unit = len(start) ** 0.5
        points, length, whole = [start], FIRST * unit, _apart(start, goal)
        for _ in range(self.steps):
            here, left = points[-1], _apart(points[-1], goal)
            if left <= ARRIVED * unit:
                points[-1] = goal if len(points) > 1 and self._is_level(self.level.values(goal[None])) else here
                return Walk(points, End.arrived)
            self.progress(int(100 * (1 - left / whole)), 100, "near the target")
            bundle = [self.level.rough(here)]
            while True:
                direction = self.aimed(here, goal, bundle) - here
                reach = float(direction.norm())
                if reach <= STATIONARY * left:
                    return Walk(points, End.stationary if len(bundle) == 1 else End.kinked)
                moved = here + min(1.0, length / reach) * direction
                values = self.level.values(moved[None])
                change = float(self.level.changes(values))
                if change <= TRUST:
                    found, values = self.level.correct(moved[None], bundle[0], self.enough, values)
                    if self._is_level(values) and _apart(found[0], goal) < left:
                        break
                length = min(length, reach) / 2
                if length < LEAST * unit:
                    return Walk(points, End.kinked)
                bundle.append(self.level.rough(moved))
            points.append(found[0])
            if change <= TRUST / 4:
                length = min(GROWS * length, LARGEST * unit)
        return Walk(points, End.exhausted)

    def aimed(self, here: Tensor, goal: Tensor, jacobians: Sequence[Linearised]) -> Tensor:
        """The point of the pixel range nearest to the goal where the values, linearised, are those wanted."""
        off = (self.level.wanted - self.level.values(here[None])).repeat(1, len(jacobians))
        jacobian = stacked(jacobians, len(here))
        return nearest_on_level(goal[None], jacobian, jacobian.forward(here[None]) + off)[0]

    def tangential(self, here: Tensor, goal: Tensor, jacobian: Linearised) -> float:
        """Share of the way to the goal that lies along the linearised level within the pixel range."""
        left = _apart(here, goal)
        along = nearest_on_level(goal[None], jacobian, jacobian.forward(here[None]))[0]
        return min(_apart(along, here) / left, 1.0) if left > 0 else 0.0

    def _is_level(self, values: Tensor) -> bool:
        return float(self.level.changes(values)) <= self.enough


def _apart(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b))
