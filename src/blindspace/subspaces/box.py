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

from ..errors import ShapeError, UnknownNameError, ValueRangeError
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
        size = flat.abs().amax(1) if flat.numel() else flat.sum(1)
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
    clamped = v.clamp(low, high)
    outside = norms(clamped, "l2") > radius
    if not bool(outside.any()):
        return clamped
    # The nearest point is clamp(t v) with the t < 1 at which its norm is the radius. From t = radius / ‖v‖ up: with the
    # values clamped at t held fixed, t is given in closed form, and no value clamped once is ever freed again.
    tiny = torch.finfo(v.dtype).tiny
    t = radius / norms(v, "l2").clamp(min=tiny)
    for _ in range(64):
        point = (t * v).clamp(low, high)
        free = point == t * v
        fixed = torch.where(free, 0.0, point).flatten(1).square().sum(1).view(t.shape)
        moving = torch.where(free, v, 0.0).flatten(1).square().sum(1).view(t.shape)
        new = torch.maximum(t, ((radius**2 - fixed).clamp(min=0) / moving.clamp(min=tiny)).sqrt().clamp(max=1))
        if bool((new <= t * (1 + 4 * torch.finfo(v.dtype).eps)).all()):
            break
        t = new
    point = (t * v).clamp(low, high)
    # Scaling down keeps the box, which holds 0, and takes off what rounding put outside the ball.
    point = point * (radius / norms(point, "l2").clamp(min=tiny)).clamp(max=1)
    return torch.where(outside, point, clamped)


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
        tolerance: stop when the two sides agree to this share of ‖v‖.
        iterations: at most.

    Raises:
        ShapeError: v, low and high differ in shape.
        ValueRangeError: 0 does not lie in the box, or v is not finite.
        UnknownNameError: the norm is neither.
    """
    norms(v[:0], norm)  # refuses a norm that is neither
    if v.shape != low.shape or v.shape != high.shape:
        raise ShapeError(f"v {tuple(v.shape)}, low {tuple(low.shape)} and high {tuple(high.shape)} differ in shape")
    if not bool(v.isfinite().all()):
        raise ValueRangeError("a perturbation holds NaN or infinite values")
    if bool((low > 0).any()) or bool((high < 0).any()):
        raise ValueRangeError("the box must hold 0: the unperturbed image is not inside the pixel range")
    if subspace is None or not len(v):
        return Nearest(into_box_and_ball(v, low, high, radius, norm), 0.0, 0)
    # In float64 whatever v is: in float32 the two sides never quite agree.
    given, bounds = v.dtype, (low, high)
    v, low, high = v.double(), low.double(), high.double()
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
    if given != inside.dtype:
        inside = into_box_and_ball(inside.to(given), *bounds, radius, norm)
    return Nearest(inside, float(_outside(subspace, inside).max()), count)


def _outside(subspace: Subspace, v: Tensor) -> Tensor:
    """‖(I − P) v‖ / ‖v‖ of each perturbation, shaped ``(B, 1, …, 1)``."""
    return norms(subspace.reject(v), "l2") / norms(v, "l2").clamp(min=torch.finfo(v.dtype).tiny)
