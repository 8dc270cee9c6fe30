"""A segment between two points of a level set, cut until the points within its pieces are on the level too.

Off the level a chord is off by its length squared, times the curvature of the level set there, so that the change in
its middle says into how many pieces it has to be cut. A piecewise linear network curves by its kinks, thousands of
which lie on the way from one image to another; between two of them a chord is exact.
"""

from __future__ import annotations

from math import ceil, sqrt

import torch
from torch import Tensor

from .level import Level
from .linearised import Linearised

WITHIN = (0.5, 0.25, 0.75)
"""Where values are measured between two vertices, the middle first."""

PIECES, ROUNDS = 128, 12
"""Largest number of pieces that a segment is cut into at once, and of rounds of cutting."""

ROOM = 0.7
"""Share of the tolerance that the change in the middle of a piece is planned to have."""


def refined(
    level: Level, a: Tensor, b: Tensor, jacobian: Linearised, tolerance: float, enough: float
) -> tuple[Tensor, Tensor]:
    """Cut the segment from a to b until no point within its pieces changes the values by more than the tolerance.

    Args:
        level: The level.
        a: A point on it, ``(n,)``.
        b: Another one.
        jacobian: The Jacobian at a.
        tolerance: Largest change within a piece.
        enough: Change at which a point is on the level.

    Returns:
        The vertices after a, the last of which is b, ``(k, n)``, and the largest change within the piece before each,
        at a quarter, half and three quarters of it, ``(k,)``. After ``ROUNDS`` rounds, or where the level is not
        reached from a chord, pieces are left as they are.
    """
    vertices, changes = torch.stack([a, b]), torch.full((1,), torch.inf, dtype=a.dtype)
    for _ in range(ROUNDS):
        fresh = changes.isinf().nonzero().flatten()
        changes[fresh] = _inner_changes(level, vertices, fresh, tolerance)
        cut = (changes > tolerance).nonzero().flatten().tolist()
        marks = [
            (i, k / pieces)
            for i in cut
            for pieces in (_pieces(float(changes[i]), tolerance),)
            for k in range(1, pieces)
        ]
        if not marks:
            break
        index, share = torch.tensor([i for i, _ in marks]), torch.tensor([s for _, s in marks], dtype=a.dtype)
        chords = torch.lerp(vertices[index], vertices[index + 1], share[:, None])
        found, left = level.correct(chords, jacobian, enough)
        kept = left <= enough
        if not bool(kept.any()):
            break
        order = torch.cat([torch.arange(len(vertices)).double(), (index + share)[kept]]).sort()
        vertices = torch.cat([vertices, found[kept]])[order.indices]
        cut_now = torch.zeros(len(changes), dtype=torch.bool)
        cut_now[index[kept]] = True
        whole = order.values[:-1].long()
        changes = torch.where(cut_now[whole], torch.inf, changes[whole])
    fresh = changes.isinf().nonzero().flatten()
    changes[fresh] = _inner_changes(level, vertices, fresh, torch.inf)
    return vertices[1:], changes


def _inner_changes(level: Level, vertices: Tensor, segments: Tensor, tolerance: float) -> Tensor:
    """Largest change within each of some segments; in the middle alone where it exceeds the tolerance there."""
    if not len(segments):
        return vertices.new_zeros(0)
    first, *others = WITHIN
    found = level.changes(level.values(_within(vertices, segments, first)))
    near = found <= tolerance
    for share in others if bool(near.any()) else ():
        there = level.changes(level.values(_within(vertices, segments[near], share)))
        found[near] = torch.maximum(found[near], there)
    return found


def _within(vertices: Tensor, segments: Tensor, share: float) -> Tensor:
    """Points at a share of the way along some segments of a polygonal path, ``(len(segments), n)``."""
    return torch.lerp(vertices[segments], vertices[segments + 1], share)


def _pieces(change: float, tolerance: float) -> int:
    """Into how many pieces a chord has to be cut if the change in its middle falls as its length squared."""
    return min(max(ceil(sqrt(change / (ROOM * tolerance))), 2), PIECES)
