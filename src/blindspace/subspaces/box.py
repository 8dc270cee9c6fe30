"""Where a subspace meets the pixel range and a ball of limited size.

1 % of a natural image's pixels are black or white to the last bit, so scaling a direction into the range leaves nothing
and clipping leaves the subspace. The nearest point of all three sets is found jointly, by Douglas-Rachford splitting.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError
from .subspace import Subspace

Norm = Literal["linf", "l2"]


@dataclass(frozen=True)
class Nearest:
    """The point found.

    Attributes:
        value: inside the box and the ball to the last bit, ``(B, *shape)``; 0, which lies in all three sets, for
            those that no point could be found for in the iterations allowed.
        residual: its distance from the subspace, ‖(I − P) value‖ / ‖value‖, the largest over the batch.
        iterations: of Douglas-Rachford.
    """

    value: Tensor
    residual: float
    iterations: int


def norms(v: Tensor, norm: Norm) -> Tensor:
    """L∞ or L2 size of each perturbation, shaped ``(B, 1, …, 1)`` to divide by.

    Raises:
        UnknownNameError: the norm is neither.
    """
    flat = v.flatten(1)
    if norm == "linf":
        size = flat.abs().amax(1)
    elif norm == "l2":
        size = flat.norm(dim=1)
    else:
        raise UnknownNameError(f"no norm is called {norm!r}; there are linf and l2")
    return size.view(-1, *[1] * (v.ndim - 1))


def into_box_and_ball(v: Tensor, low: Tensor, high: Tensor, radius: float = inf, norm: Norm = "linf") -> Tensor:
    """The nearest point of {low ≤ δ ≤ high, ‖δ‖ ≤ radius}, exactly.

    Args:
        v: ``(B, *shape)``.
        low: not above 0, ``(B, *shape)``.
        high: not below 0, ``(B, *shape)``.
        radius: of the ball around 0.
        norm: of the ball.
    """
    if norm == "linf" or radius == inf:
        return v.clamp(low.clamp(min=-radius), high.clamp(max=radius))
    inside = v.clamp(low, high)
    if bool((norms(inside, "l2") <= radius).all()):
        return inside
    # The nearest point is clamp(v / (1 + λ)) with the λ ≥ 0 at which its norm is the radius; found by bisection.
    shrink_low = torch.zeros_like(norms(v, "l2"))
    shrink_high = torch.ones_like(shrink_low)
    for _ in range(60):
        middle = (shrink_low + shrink_high) / 2
        fits = norms((middle * v).clamp(low, high), "l2") <= radius
        shrink_low, shrink_high = torch.where(fits, middle, shrink_low), torch.where(fits, shrink_high, middle)
    fits = norms(inside, "l2") <= radius
    return torch.where(fits, inside, (shrink_low * v).clamp(low, high))


def nearest(
    v: Tensor,
    subspace: Subspace | None,
    low: Tensor,
    high: Tensor,
    radius: float = inf,
    norm: Norm = "linf",
    tolerance: float = 1e-12,
    iterations: int = 2000,
) -> Nearest:
    """The point of subspace ∩ box ∩ ball nearest to v in L2.

    0 must lie in the box, so the three sets meet.

    Args:
        v: ``(B, *shape)``.
        subspace: or None for all of space.
        low: smallest change of each value, not above 0, ``(B, *shape)``.
        high: largest change, not below 0.
        radius: of the ball around 0.
        norm: of the ball, ``linf`` or ``l2``.
        tolerance: stop when the two sides agree to this share of ‖v‖; raised to what v's dtype can hold.
        iterations: at most.

    Raises:
        ShapeError: 0 does not lie in the box.
        UnknownNameError: the norm is neither.
    """
    if bool((low > 0).any()) or bool((high < 0).any()):
        raise ShapeError("the box must hold 0: the unperturbed image is not inside the pixel range")
    if subspace is None:
        return Nearest(into_box_and_ball(v, low, high, radius, norm), 0.0, 0)
    tolerance = max(tolerance, 4 * torch.finfo(v.dtype).eps)
    scale = norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
    state = v
    inside = v
    count = 0
    for count in range(1, iterations + 1):  # noqa: B007
        inside = into_box_and_ball(state, low, high, radius, norm)
        # Proximal step of ½‖· − v‖² on the subspace, at the reflected point.
        parallel = subspace.project((2 * inside - state + v) / 2)
        state = state + parallel - inside
        if bool((norms(parallel - inside, "l2") <= tolerance * scale).all()):
            break
    outside = _outside(subspace, inside)
    # Where the sets hardly meet but at 0 (an image that is all black and white), the two sides agree too slowly.
    inside = torch.where(outside <= tolerance**0.5, inside, 0.0)
    return Nearest(inside, float(_outside(subspace, inside).max()), count)


def _outside(subspace: Subspace, v: Tensor) -> Tensor:
    """‖(I − P) v‖ / ‖v‖ of each perturbation, shaped ``(B, 1, …, 1)``."""
    return norms(subspace.reject(v), "l2") / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
