"""Geometry-inspired perturbations: the shortest way across the boundary ⟨q, x⟩ = 0, in L2, L∞ or few coordinates.

Kumano et al. 2024, section 3.2: one direction for all samples, towards the side of each sample's target.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, ValueRangeError, integer, real

Geometry = Literal["l2", "linf", "l0"]


def geometric(
    norm: Geometry,
    direction: Tensor,
    targets: Tensor,
    eps: float,
    count: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Perturbations along q for target labels.

    L2: ε t q/‖q‖. L∞: ε t sign(q). L0: ε t q/‖q‖ of q cut to its ``count`` coordinates of largest size. Coordinates of
    equal size are taken in random order, since by their index those at one border of an image would be preferred.

    Args:
        norm: ``l2``, ``linf`` or ``l0``.
        direction: q, ``(d,)``.
        targets: Target labels t, −1 or 1, ``(N,)``.
        eps: Length of the perturbations: in L∞ for ``linf``, otherwise in L2.
        count: Number of coordinates that change; ``l0`` only, which needs it.
        generator: Source of the order of equal coordinates; ``l0`` only, torch's global one if None.

    Returns:
        Perturbations, float64 ``(N, d)``; they do not know any pixel range.

    Raises:
        UnknownNameError: There is no such norm.
        ValueRangeError: The direction is 0 or not finite, a target is neither −1 nor 1, or ``count`` does not fit.
        ShapeError: The direction is no vector.
    """
    if norm not in get_args(Geometry):
        raise UnknownNameError(f"the norm must be one of {', '.join(get_args(Geometry))}; got {norm!r}")
    if direction.ndim != 1 or targets.ndim != 1:
        raise ShapeError(
            f"a direction (d,) and targets (N,) are needed, got {tuple(direction.shape)} and {tuple(targets.shape)}"
        )
    q, eps = direction.detach().double(), real(eps, "eps")
    if not bool(q.isfinite().all()) or not bool(q.any()):
        raise ValueRangeError("the direction must be finite and not 0")
    if not bool((targets.abs() == 1).all()):
        raise ValueRangeError("targets must be −1 or 1")
    if (norm == "l0") != (count is not None):
        raise ValueRangeError(f"l0 alone takes a number of coordinates, and needs it; got {norm} and count={count}")
    if count is not None:
        q = q * largest(q, integer(count, "the number of coordinates", 1, len(q)), generator)
    step = q.sign() if norm == "linf" else q / q.norm()
    return eps * targets.double()[:, None] * step


def largest(q: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """The ``count`` coordinates of a vector ``(d,)`` that are largest in size, as bool; ties are broken at random."""
    order = torch.randperm(len(q), generator=generator).to(q.device)
    chosen = order[q[order].abs().argsort(descending=True, stable=True)[:count]]
    return torch.zeros(len(q), dtype=torch.bool, device=q.device).index_fill_(0, chosen, True)
