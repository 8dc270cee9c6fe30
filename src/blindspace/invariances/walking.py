"""Steps along a level set: toward a goal, down to the level from a picture off it, and away from where a path stalls.

Every step is one of sequential quadratic programming: the point nearest to the goal among those of the pixel range
where the linearised values stay what they are; part of the way there; and back onto the level by Newton's method
(Allgower & Georg, Introduction to Numerical Continuation Methods, chapters 3 and 6).
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

TRUST = 0.02
"""Change of the values, as a share of the largest one, that a step may bring before it is corrected."""

FIRST, LEAST, LARGEST = 4e-3, 1e-5, 2e-2
"""Length of the first, the shortest and the longest step, as root mean square over the pixels."""

GROWS = 1.5
"""Growth of the step after one that brought less than a quarter of the trusted change."""

ARRIVED = 1e-9
"""Distance from the goal at which a path has arrived, as root mean square over the pixels."""

STATIONARY = 1e-3
"""Share of the way to the goal that must lie along the level for the path to go on."""

DESCENTS = 100
"""Largest number of steps from a picture down to the level."""

STARTS = (0.0, 0.3)
"""Where walks to a local minimum start, as shares of the line from the target to the image."""

DETOURS, ASIDE = 3, 0.5
"""Number of detours that a path may try, and how far aside they lead as a share of what is left of the way."""


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
        """The way from a point of the level to the point nearest to a target that is found.

        The distance from the target has local minima on the level, and the one that a walk from the start runs into
        need not be the nearest. So the goal is looked for from the other end: Newton's method leads from the target to
        a near point of the level, and a walk from there to a nearer one.
        """
        nears = [self._descend(torch.lerp(target, start, share)) for share in STARTS]
        goals = [self.walk(near, target, "near the target") for near in nears if near is not None]
        if not goals:
            return self.walk(start, target, "toward the target")
        goal = min(goals, key=lambda walk: _apart(walk.points[-1], target))
        points, end = self.walk(start, goal.points[-1], "toward the target")
        generator = torch.Generator().manual_seed(0)
        for _ in range(DETOURS):
            if end is End.arrived:
                return Walk(points, goal.end)
            aside = self._aside(points[-1], goal.points[-1], generator)
            if aside is None:
                continue
            again = self.walk(aside, goal.points[-1], "toward the target, again")
            if again.end is End.arrived or _apart(again.points[-1], target) < _apart(points[-1], target):
                points, end = [*points, *again.points], again.end
        last = self.walk(points[-1], target, "toward the target")
        return Walk(points + last.points[1:], last.end)

    def walk(self, start: Tensor, goal: Tensor, what: str = "") -> Walk:
        """Go from a point of the level toward a goal, each step nearer to it than the one before."""
        unit = len(start) ** 0.5
        points, length, whole = [start], FIRST * unit, _apart(start, goal)
        for _ in range(self.steps):
            here, left = points[-1], _apart(points[-1], goal)
            if left <= ARRIVED * unit:
                points[-1] = goal if len(points) > 1 and self._on_level(goal) else here
                return Walk(points, End.arrived)
            self.progress(int(100 * (1 - left / whole)), 100, what)
            bundle = [self.level.linearised(here[None])]
            while True:
                direction = self.aimed(here, goal, bundle) - here
                reach = float(direction.norm())
                if reach <= STATIONARY * left:
                    return Walk(points, End.stationary if len(bundle) == 1 else End.kinked)
                moved = here + min(1.0, length / reach) * direction
                change = float(self.level.changes(self.level.values(moved[None])))
                if change <= TRUST:
                    found, left_over = self.level.correct(moved[None], bundle[0], self.enough)
                    if float(left_over) <= self.enough and _apart(found[0], goal) < left:
                        break
                length = min(length, reach) / 2
                if length < LEAST * unit:
                    return Walk(points, End.kinked)
                bundle.append(self.level.linearised(moved[None]))
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

    def _descend(self, point: Tensor) -> Tensor | None:
        """A point of the level near one off it, by damped Newton steps of least norm; None if none is found."""
        unit, length = len(point) ** 0.5, FIRST * len(point) ** 0.5
        change = float(self.level.changes(self.level.values(point[None])))
        for _ in range(DESCENTS):
            if change <= self.enough:
                return point
            step = self.aimed(point, point, [self.level.linearised(point[None])]) - point
            reach = float(step.norm())
            while reach > 0:
                moved = point + min(1.0, length / reach) * step
                found = float(self.level.changes(self.level.values(moved[None])))
                if found < change:
                    break
                length = min(length, reach) / 2
                if length < LEAST * unit:
                    return None
            else:
                return None
            point, change, length = moved, found, GROWS * length
        return None

    def _aside(self, here: Tensor, goal: Tensor, generator: torch.Generator) -> Tensor | None:
        """A point of the level in a random direction along it; None if it is not reached."""
        noise = torch.randn(len(here), generator=generator, dtype=here.dtype)
        far = (here + ASIDE * _apart(here, goal) * noise / noise.norm()).clamp(0, 1)
        away = self.walk(here, far, "aside")
        return away.points[-1] if len(away.points) > 1 else None

    def _on_level(self, point: Tensor) -> bool:
        return float(self.level.changes(self.level.values(point[None]))) <= self.enough


def _apart(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b))
