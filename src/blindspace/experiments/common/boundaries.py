"""How far a decision boundary is along a direction."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor


def distance_along(
    margin: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, reach: float, samples: int = 64
) -> Tensor:
    """The distance at which the sign of a function changes along a ray, by equidistant samples and bisection.

    Two changes of sign between neighbouring samples are not seen.

    Args:
        margin: From points ``(..., n)`` to values ``(...)`` whose sign is the side of the boundary.
        x: Points that the rays start from, ``(..., n)``.
        direction: Directions, ``(..., n)``; they are scaled to norm 1. A direction of norm 0 leads nowhere.
        reach: Length of the rays.
        samples: Number of samples per ray.

    Returns:
        Distances ``(...)`` to an error of ``reach / samples * 2**-30``; infinite where the sign is constant.
    """
    norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    unit = direction / norm.clamp(min=torch.finfo(direction.dtype).tiny)
    side = margin(x) > 0

    def beyond(at: Tensor) -> Tensor:
        return (margin(x + at[..., None] * unit) > 0) != side

    found = torch.full_like(x[..., 0], inf)
    for index in range(samples, 0, -1):  # from afar, so that the nearest change of sign is kept
        at = torch.full_like(found, reach * index / samples)
        found = torch.where(beyond(at), at, found)
    high = found.clone()
    low = (high - reach / samples).clamp(min=0)
    for _ in range(30):
        middle = torch.where(found.isfinite(), (low + high) / 2, torch.zeros_like(low))
        over = beyond(middle)
        high, low = torch.where(over, middle, high), torch.where(over, low, middle)
    return torch.where(found.isfinite(), high, found)
