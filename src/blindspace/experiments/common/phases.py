"""Phases of training, computed: whether a figure over training rises to a peak and declines, or falls and recovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Course = Literal["rises, then falls", "falls, then rises", "rises", "falls", "flat"]

FACTOR = 1.1
"""From this factor on a change counts, if not given."""


@dataclass(frozen=True)
class Phases:
    """The course of a positive figure over training.

    Attributes:
        course: What it does.
        turn: Index of its turning point: the peak or the trough of two phases, the last index otherwise.
        first: Its change in the first phase, as a factor.
        second: Its change in the second phase, as a factor; 1 where there is none.
    """

    course: Course
    turn: int
    first: float
    second: float


def phases(values: Sequence[float], factor: float = FACTOR) -> Phases:
    """Determine the phases of a figure over training, such as the gradient's share on the manifold over chance.

    There are two phases if the figure changes by at least ``factor`` up to an extremum and by at least ``factor`` back
    from there to the end. If that is true of both its peak and its trough, the extremum with the larger smaller change
    counts. Otherwise the whole course is one phase.

    Args:
        values: The figure at each time, all above 0.
        factor: Smallest change that counts, above 1.

    Raises:
        ValueError: There are fewer than two values, or one is not above 0.
    """
    v = list(map(float, values))
    if len(v) < 2 or not all(value > 0 for value in v):
        raise ValueError(f"phases need at least two values above 0, got {v}")
    last = len(v) - 1
    peak, trough = (max(range(len(v)), key=lambda i: sign * v[i]) for sign in (1, -1))
    up = min(v[peak] / v[0], v[peak] / v[last])
    down = min(v[0] / v[trough], v[last] / v[trough])
    if max(up, down) >= factor:
        turn = peak if up >= down else trough
        return Phases(
            "rises, then falls" if turn == peak else "falls, then rises", turn, v[turn] / v[0], v[last] / v[turn]
        )
    change = v[last] / v[0]
    return Phases("rises" if change >= factor else "falls" if change <= 1 / factor else "flat", last, change, 1.0)
