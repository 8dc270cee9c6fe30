"""The way up to a large perturbation inside a box, and what none can exceed.

Maximising ‖δ‖² over nullspace ∩ box is the maximisation of a convex function over a polytope: its local maxima are
vertices, and there are more than can be counted. Douglas-Rachford splitting runs on −½‖δ‖² + [δ in the box] and
[δ in the nullspace]. Its step κ weighs the first against the agreement of the two: while κ is large, the perturbation
is larger than the box allows, and as κ falls, the box takes over by and by. Annealed so, it ends in better maxima than
a climb from inside the box, for the cost of one projection a step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..subspaces import Subspace
from .repeated import Project

FIRST, LAST = 0.5, 0.02
"""The step κ at the start and at the end; between them it falls by equal factors."""


def ascend(
    project: Project,
    start: Tensor,
    low: Tensor,
    high: Tensor,
    iterations: int,
    report: Callable[[int], None] | None = None,
) -> Tensor:
    """A perturbation of the space near a large vertex of its intersection with a box.

    Args:
        project: onto the space of harmless perturbations.
        start: any perturbations, such as random ones, float64 ``(B, *shape)``.
        low: smallest change of each value, as start.
        high: largest change, as start.
        iterations: one projection each.
        report: called with the number of steps done.

    Returns:
        In the space to rounding, outside the box by about ``LAST`` in a few values, ``(B, *shape)``.
    """
    state, parallel = start, start
    for done in range(iterations):
        step = FIRST * (LAST / FIRST) ** (done / max(iterations - 1, 1))
        # Proximal step of −½‖δ‖² and the box together; then the nearest point of the space to its reflection.
        inside = (state / (1 - step)).clamp(low, high)
        parallel = project(2 * inside - state)
        state = state + parallel - inside
        if report is not None:
            report(done + 1)
    return parallel


def largest_bound(space: Subspace, low: Tensor, high: Tensor) -> Tensor:
    """What ‖δ‖² cannot exceed for any δ of the space with low ≤ δ ≤ high, ``(B,)``.

    The smaller of two bounds. The box alone gives Σ max(low², high²). The ball around the box's centre c gives the
    other: ‖δ − c‖² ≤ Σ ((high − low)/2)² = R², its part outside the space is (I − P) c, and so
    ‖δ‖ ≤ ‖P c‖ + √(R² − ‖(I − P) c‖²). How near to it perturbations come is not known.

    Args:
        space: of harmless perturbations.
        low: smallest change of each value, float64 ``(B, *shape)``; the box and the space must meet.
        high: largest change.
    """
    corners = torch.maximum(low.square(), high.square()).flatten(1).sum(1)
    centre = (low + high) / 2
    parallel = space.project(centre)
    radius2 = ((high - low) / 2).flatten(1).square().sum(1) - (centre - parallel).flatten(1).square().sum(1)
    ball = (parallel.flatten(1).norm(dim=1) + radius2.clamp(min=0).sqrt()).square()
    return torch.minimum(corners, ball)
