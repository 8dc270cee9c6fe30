"""A segment between two points of a level set, halved until the points within its pieces are on the level too.

Off the level a chord is off by its length squared, times the curvature of the level set there. A piecewise linear
network curves by its kinks, thousands of which lie on the way from one image to another; between two of them a chord is
exact. The values in the middle of a chord say both whether it has to be halved and how far its middle is to be moved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .level import Level
from .linearised import Linearised

MIDDLE, BESIDE = 0.5, (0.25, 0.75)
"""Where values are measured between two vertices: in the middle, and where that leaves a doubt beside it."""

DOUBT = 0.5
"""Share of the tolerance in the middle of a chord from which on it is measured beside the middle. The change along a
chord that crosses kinks of one direction is concave, so that it is at most twice that in the middle."""

ROUNDS = 20
"""Largest number of rounds of halving."""


def refined(
    level: Level, a: Tensor, b: Tensor, jacobian: Linearised, tolerance: float, enough: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve the segment from a to b until no point within its pieces changes the values by more than the tolerance.

    Args:
        level: The level.
        a: A point on it, ``(n,)``.
        b: Another one.
        jacobian: The Jacobian at a.
        tolerance: Largest change within a piece.
        enough: Change at which a point is on the level.

    Returns:
        The vertices after a, the last of which is b, ``(k, n)``, the values at them, ``(k, m)``, and the largest change
        within the piece before each, ``(k,)``: in the middle, and at a quarter and three quarters where it has more
        than half of the tolerance in the middle. After ``ROUNDS`` rounds, or where the level is not reached from a
        chord, pieces are left as they are.
    """
    vertices, changes = torch.stack([a, b]), a.new_full((1,), torch.inf)
    at_vertices = level.values(vertices)
    for last in (*[False] * ROUNDS, True):
        fresh = changes.isinf().nonzero().flatten()
        if not len(fresh):
            break
        middles = _within(vertices, fresh, MIDDLE)
        values = level.values(middles)
        found = level.changes(values)
        doubtful = ((found > DOUBT * tolerance) & (found <= tolerance)).nonzero().flatten()
        for share in BESIDE if len(doubtful) else ():
            there = level.changes(level.values(_within(vertices, fresh[doubtful], share)))
            found[doubtful] = torch.maximum(found[doubtful], there)
        changes[fresh] = found
        cut = (found > tolerance).nonzero().flatten()
        if last or not len(cut):
            break
        moved, corrected = level.correct(middles[cut], jacobian, enough, values[cut])
        kept = level.changes(corrected) <= enough
        index = fresh[cut[kept]]
        changes[index] = torch.inf
        order = torch.cat([torch.arange(len(vertices), device=index.device).double(), index + MIDDLE]).sort()
        vertices = torch.cat([vertices, moved[kept]])[order.indices]
        at_vertices = torch.cat([at_vertices, corrected[kept]])[order.indices]
        changes = changes[order.values[:-1].long()]
    return vertices[1:], at_vertices[1:], changes


def _within(vertices: Tensor, segments: Tensor, share: float) -> Tensor:
    """Points at a share of the way along some segments of a polygonal path, ``(len(segments), n)``."""
    return torch.lerp(vertices[segments], vertices[segments + 1], share)
