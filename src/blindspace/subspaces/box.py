"""Where a subspace meets the pixel range and a ball of limited size.

1 % of a natural image's pixels are black or white to the last bit, so scaling a direction into the range leaves nothing
and clipping leaves the subspace. The nearest point of all three sets is found jointly, by splitting.
How near it is follows from duality: any μ orthogonal to the subspace bounds the distance from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, ValueRangeError
from .davis_yin import size, splitting
from .subspace import Subspace

Norm = Literal["linf", "l2"]

WEIGHT, LEAST_SHARE = 0.3, 0.03
"""Of v in the splitting, times the share of v that fits into the box, but for far targets not all of that. So the two
sides agree soonest for noise, decoys, black and white images, and targets a hundred times too far alike."""

TINY = torch.finfo(torch.float64).tiny

DIGITS = 1e-14
"""Share of the point found that may be outside the subspace at best."""


@dataclass(frozen=True)
class Metric:
    """Measures a difference e by √⟨e, H e⟩.

    Attributes:
        apply: H, symmetric, eigenvalues from ``least`` to 1; ``(B, *shape)`` to the same, float64.
        least: above 0.
    """

    apply: Callable[[Tensor], Tensor]
    least: float


@dataclass(frozen=True)
class Nearest:
    """The point found.

    Attributes:
        value: inside the box and the ball to the last bit, ``(B, *shape)``; 0, which lies in all three sets, for
            those that no other point was found for, be it that there is none or in the iterations allowed.
        residual: its distance from the subspace, ‖(I − P) value‖ / ‖value‖, the largest over the batch.
        iterations: of both splittings.
        optimality: bound on its distance from the nearest point, as a share of ‖v‖, the largest over the batch. It
            comes from the duality gap, which is rounding at best, and so ends at about 1e-8.
    """

    value: Tensor
    residual: float
    iterations: int
    optimality: float = 0.0


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
    iterations: int = 500,
    metric: Metric | None = None,
) -> Nearest:
    """The point of subspace ∩ box ∩ ball nearest to v in L2, or as a metric measures.

    0 must lie in the box, so the three sets meet.

    Args:
        v: ``(B, *shape)``.
        subspace: or None for all of space.
        low: smallest change of each value, not above 0, ``(B, *shape)``.
        high: largest change, not below 0.
        radius: of the ball around 0.
        norm: of the ball, ``linf`` or ``l2``.
        tolerance: the two sides are to agree to this share of ‖v‖. The point found then goes the short way into the
            subspace without leaving box and ball, until no more than tolerance², or 1e-14, of it is outside.
        iterations: of either, at most.
        metric: measures the distance; L2 if None.

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
    if subspace.dim == 0:
        return Nearest(torch.zeros_like(v), 0.0, 0)
    # In float64 whatever v is: in float32 the two sides never quite agree.
    given, bounds = v.dtype, (low, high)
    v, low, high = v.double(), low.double(), high.double()

    def confine(points: Tensor, images: Tensor) -> Tensor:
        return into_box_and_ball(points, low[images], high[images], radius, norm)

    def pull(points: Tensor, images: Tensor) -> Tensor:
        difference = v[images] - points
        return weight[images] * (metric.apply(difference) if metric else difference)

    everything = torch.arange(len(v), device=v.device)
    weight = WEIGHT * (size(confine(v, everything)) / size(v).clamp(min=TINY)).clamp(min=LEAST_SHARE)
    first = splitting(weight * v, subspace, confine, pull, tolerance * size(v), iterations)
    multiplier = subspace.reject(pull(first.inside, everything) - (first.state - first.inside)) / weight
    # From there the short way to a point of both sets.
    enough = max(tolerance**2, DIGITS) * size(first.inside)
    last = splitting(first.inside, subspace, confine, None, enough, iterations)
    # An image that is all black and white may leave no harmless change but 0.
    inside = torch.where(_outside(subspace, last.inside) <= tolerance**0.5, last.inside, 0.0)
    # The paraboloid that touches the metric's from below has another centre.
    centre = v
    if metric:
        centre, multiplier = inside + metric.apply(v - inside) / metric.least, multiplier / metric.least
    bound = _bound(centre, inside, multiplier, subspace, confine(centre - multiplier, everything))
    optimality = float(((2 if metric else 1) * bound / size(v).clamp(min=TINY)).max())
    if given != inside.dtype:
        inside = into_box_and_ball(inside.to(given), *bounds, radius, norm)
    return Nearest(inside, float(_outside(subspace, inside).max()), first.iterations + last.iterations, optimality)


def _bound(centre: Tensor, found: Tensor, multiplier: Tensor, subspace: Subspace, relaxed: Tensor) -> Tensor:
    """√(2 · duality gap), which bounds the distance from the point nearest to a centre: ½‖· − c‖² is strongly convex.

    The dual function at μ is ½‖δ − c‖² + ⟨μ, δ⟩ at the δ of box and ball nearest to c − μ. Its difference from
    ½‖found − c‖² is written as a product with the difference of the two points, so that nothing cancels.

    Args:
        centre: c, ``(B, *shape)``.
        found: in all three sets.
        multiplier: μ, orthogonal to the subspace.
        subspace: the subspace.
        relaxed: that δ.
    """
    slope = (found + relaxed) / 2 - centre + multiplier
    product = ((found - relaxed) * slope).flatten(1).sum(1).reshape(-1, *[1] * (found.ndim - 1))
    # ⟨μ, found⟩ is 0 but for how far rounding leaves either from where it should be.
    return (2 * (product.clamp(min=0) + size(multiplier) * size(subspace.reject(found)))).sqrt()


def _outside(subspace: Subspace, v: Tensor) -> Tensor:
    """‖(I − P) v‖ / ‖v‖ of each perturbation, shaped ``(B, 1, …, 1)``."""
    return size(subspace.reject(v)) / size(v).clamp(min=torch.finfo(v.dtype).tiny)
