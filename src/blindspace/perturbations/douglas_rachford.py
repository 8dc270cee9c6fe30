"""Norm maximisation over a subspace and a box by annealed Douglas-Rachford splitting, and a bound on the maximum.

Maximising ‖δ‖² over nullspace ∩ box is the maximisation of a convex function over a polytope: its local maxima are
vertices, and there are exponentially many. Douglas-Rachford splitting (Lions & Mercier 1979; for nonconvex functions Li
& Pong 2016) runs on −½‖δ‖² + [δ in the box] and [δ in the nullspace]. Its step size κ weighs the first against the
agreement of the two: while κ is large, the perturbation is larger than the box allows, and as κ falls, the box takes
over gradually. Annealed in this way, it ends in better maxima than an ascent from inside the box, at the cost of one
projection per step.

The iteration is chaotic: it doubles a difference in the last bit until another maximum is found. So its state is
rounded after every step to a grid that is coarse compared with rounding errors and fine compared with a pixel's 256
levels. Rounding errors then change the state only where a value lies within some 1e-15 of the middle between two grid
points, about once in 100,000 images of 3072 values and 1000 steps; otherwise every processor takes the same path. Each
value has a grid of its own, shifted by the random start, since structure such as averages of halves would meet the
middle often.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..subspaces import Subspace

FIRST, LAST = 0.5, 0.02
"""The step size κ at the start and at the end; between them it falls by equal factors."""

RELAXATION = 1.4
"""Share of the step of Douglas-Rachford splitting that is taken (over-relaxed, Eckstein & Bertsekas 1992): 700 such
steps find the mean squared change of 980 whole ones (measured on CIFAR-10)."""

GRID = 2.0**-10
"""Spacing of the grid of states. The mean squared change found is that without a grid, and 0.5 % below it at 2⁻⁸
(measured on CIFAR-10)."""


def ascend(
    space: Subspace,
    start: Tensor,
    low: Tensor,
    high: Tensor,
    iterations: int,
    report: Callable[[int], None] | None = None,
) -> Tensor:
    """A perturbation of the subspace near a vertex of its intersection with a box at which the norm is large.

    Args:
        space: The subspace of harmless perturbations.
        start: Perturbations to start from, such as random ones, float64 ``(B, *shape)``.
        low: Smallest change of each value, as start.
        high: Largest change of each value, as start.
        iterations: Number of steps of one projection each.
        report: Called with the number of steps done.

    Returns:
        ``(B, *shape)``, in the subspace up to rounding, outside the box by about ``LAST`` in a few values.
    """
    grid_points = torch.round(start / GRID)
    shift = start - GRID * grid_points
    state, inside, between = (torch.empty_like(start) for _ in range(3))  # memory that every step writes to again
    parallel = start / 2
    for done in range(iterations):
        kappa = FIRST * (LAST / FIRST) ** (done / max(iterations - 1, 1))
        torch.add(shift, grid_points, alpha=GRID, out=state)
        # Proximal step of −½‖δ‖² and the box together; then the nearest point of the subspace to half its reflection.
        torch.mul(state, 1 / (1 - kappa), out=inside)
        torch.clamp(inside, low, high, out=inside)
        torch.sub(inside, state, alpha=0.5, out=between)
        parallel = space.project(between)
        back = torch.sub(inside, parallel, alpha=2, out=between)
        grid_points.sub_(back, alpha=RELAXATION / GRID).round_()
        if report is not None:
            report(done + 1)
    return 2 * parallel


def largest_bound(space: Subspace, low: Tensor, high: Tensor) -> Tensor:
    """An upper bound on ‖δ‖² over all δ of the subspace with low ≤ δ ≤ high, ``(B,)``.

    The smaller of two bounds. The box alone gives Σ max(low², high²). The ball around the box's centre c gives the
    other: ‖δ − c‖² ≤ Σ ((high − low)/2)² = R², its part outside the subspace is (I − P) c, and so
    ‖δ‖ ≤ ‖P c‖ + √(R² − ‖(I − P) c‖²). How close to it perturbations come is not known.

    Args:
        space: The subspace of harmless perturbations.
        low: Smallest change of each value, float64 ``(B, *shape)``; the box and the subspace must meet.
        high: Largest change of each value, as low.
    """
    corners = torch.maximum(low.square(), high.square()).flatten(1).sum(1)
    centre = (low + high) / 2
    parallel = space.project(centre)
    radius2 = ((high - low) / 2).flatten(1).square().sum(1) - (centre - parallel).flatten(1).square().sum(1)
    ball = (parallel.flatten(1).norm(dim=1) + radius2.clamp(min=0).sqrt()).square()
    return torch.minimum(corners, ball)
