"""Projection on the intersection of a subspace with the pixel range and a ball around 0, by operator splitting.

About 1 % of a natural image's pixels are black or white to the last bit, so that scaling a direction into the range
shrinks it to nothing, and clipping leaves the subspace. Therefore the nearest point of all three sets is computed
jointly, by three-operator splitting (``davis_yin``). A bound on its distance from the optimum follows from Lagrangian
duality: any multiplier μ orthogonal to the subspace bounds the optimal value from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, ValueRangeError, integer, real, shown
from ..maps import Operator
from ._arguments import floating
from .davis_yin import MEMORY, l2_norms, splitting
from .subspace import Subspace, nullspace

Norm = Literal["linf", "l2"]

WEIGHT, LEAST_SHARE = 0.3, 0.03
"""Step γ of the splitting per share of v that fits into the box, and the smallest share that is taken into account.

With these the two sides agree soonest for noise, decoys, black and white images, and targets a hundred times too far
alike."""

TINY = torch.finfo(torch.float64).tiny

DIGITS = 1e-14
"""Smallest share of the result's norm outside the subspace that is asked for, whatever the tolerance; and share of ‖v‖
below which a result is 0."""

RESOLVED = 1e-7
"""Share of ‖v‖ that the bound on the distance from the optimum, the root of a difference, resolves."""

CLOSER = 100.0
"""Factor by which the gap between the two sides is lowered where the bound shows that it was too large."""


@dataclass(frozen=True)
class Metric:
    """A metric √⟨e, H e⟩ of differences e.

    Attributes:
        apply: The product with H, symmetric with eigenvalues from ``least`` to 1; float64 ``(B, *shape)`` to the same.
        least: Lower bound on the eigenvalues of H, above 0.
    """

    apply: Callable[[Tensor], Tensor]
    least: float


@dataclass(frozen=True)
class Nearest:
    """Result of ``nearest``.

    Attributes:
        value: The point, inside the box and the ball to the last bit, of the shape of v. It is 0, which lies in all
            three sets, if no other point was found, because there is none or because the iterations ran out.
        residual: Distance of the point from the subspace, ‖(I − P) value‖ / ‖value‖, the largest over the batch.
        iterations: Number of iterations of both splittings.
        optimality: Upper bound on the distance from the optimum as a share of ‖v‖, the largest over the batch. It is
            the square root of a duality gap, which is rounding at best, and so is rarely below 1e-8.
    """

    value: Tensor
    residual: float
    iterations: int
    optimality: float = 0.0


def norms(v: Tensor, norm: Norm) -> Tensor:
    """Compute the L∞ or L2 norm of each perturbation of a batch, shaped ``(B, 1, …, 1)`` to divide by.

    Raises:
        UnknownNameError: ``norm`` is neither ``linf`` nor ``l2``.
        ShapeError: v is not a floating-point tensor.
    """
    floating(v, "v")
    if not isinstance(norm, str) or norm not in ("linf", "l2"):
        raise UnknownNameError(f"no norm is called {shown(norm)}; there are linf and l2")
    if norm == "l2":
        return l2_norms(v)
    flat = v.flatten(1)
    return (flat.abs().amax(1) if flat.numel() else flat.sum(1)).view(-1, *[1] * (v.ndim - 1))


def into_box_and_ball(v: Tensor, low: Tensor, high: Tensor, radius: float = inf, norm: Norm = "linf") -> Tensor:
    """Project on {low ≤ δ ≤ high, ‖δ‖ ≤ radius} exactly.

    Args:
        v: Points, ``(B, *shape)``.
        low: Lower bounds, at most 0, ``(B, *shape)``.
        high: Upper bounds, at least 0, ``(B, *shape)``.
        radius: Radius of the ball around 0.
        norm: Norm of the ball.
    """
    if norm == "linf" or radius == inf:
        return v.clamp(low.clamp(min=-radius), high.clamp(max=radius))
    clamped = v.clamp(low, high)
    outside = norms(clamped, "l2") > radius
    if not bool(outside.any()):
        return clamped
    # The projection is clamp(t v) with the t < 1 at which its norm equals the radius. Newton's method from t = radius /
    # ‖v‖ upwards: with the active bounds fixed t has a closed form, and no active bound ever becomes inactive again.
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
    # Scaling down stays in the box, which contains 0, and removes what rounding put outside the ball.
    point = point * (radius / norms(point, "l2").clamp(min=tiny)).clamp(max=1)
    return torch.where(outside, point, clamped)


def within_support(subspace: Subspace, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The bounds of a box, with both 0 outside the mask of a subspace, so that what keeps the box keeps the mask.

    Args:
        subspace: The subspace, confined to a mask or not.
        low: Lower bounds, ``(B, *shape)``.
        high: Upper bounds, as low.
    """
    if subspace.support is None:
        return low, high
    inside = subspace.support.to(low.device)
    return torch.where(inside, low, 0.0), torch.where(inside, high, 0.0)


def nearest(
    v: Tensor,
    subspace: Subspace | Operator | None,
    low: Tensor,
    high: Tensor,
    radius: float = inf,
    norm: Norm = "linf",
    tolerance: float = 1e-12,
    iterations: int = 500,
    metric: Metric | None = None,
    memory: int = MEMORY,
) -> Nearest:
    """Compute the point of subspace ∩ box ∩ ball nearest to v in L2 or in a given metric.

    0 must lie in the box, so that the three sets intersect.

    Args:
        v: Points, floating point ``(B, *shape)``.
        subspace: The subspace, or whatever ``nullspace`` takes; the whole space if None.
        low: Lower bounds, at most 0, ``(B, *shape)``.
        high: Upper bounds, at least 0, ``(B, *shape)``.
        radius: Radius of the ball around 0; infinite for no ball.
        norm: Norm of the ball, ``linf`` or ``l2``.
        tolerance: Relative gap between the two sides, as a share of the part of ‖v‖ that fits into box and ball, at
            which the first splitting ends. A second one then moves the result into the subspace, without leaving box
            and ball, until at most tolerance² (or 1e-14) of it is outside. Where the bound on the distance from the
            optimum is then above √tolerance of the result's norm, both go on, with a gap a hundredth as large.
        iterations: Largest number of iterations of either splitting.
        metric: The metric of the distance; L2 if None.
        memory: Number of past steps that Anderson acceleration uses; 0 for the plain iteration.

    Raises:
        ShapeError: v is not a floating-point batch, or v, low, high and the subspace differ in shape.
        ValueRangeError: 0 does not lie in the box, or v is not finite.
        UnknownNameError: ``norm`` is neither ``linf`` nor ``l2``.
    """
    for name, given in (("v", v), ("low", low), ("high", high)):
        floating(given, name)
    norms(v[:0], norm)  # raises for an unknown norm
    radius = inf if isinstance(radius, float) and radius == inf else real(radius, "the radius")
    iterations, memory = integer(iterations, "the number of iterations", 1), integer(memory, "memory", 0)
    tolerance = real(tolerance, "the tolerance")
    subspace = None if subspace is None else nullspace(subspace, v.shape[1:])
    if v.shape != low.shape or v.shape != high.shape:
        raise ShapeError(f"v {tuple(v.shape)}, low {tuple(low.shape)} and high {tuple(high.shape)} differ in shape")
    if not bool(v.isfinite().all()):
        raise ValueRangeError("a perturbation holds NaN or infinite values")
    if bool((low > 0).any()) or bool((high < 0).any()):
        raise ValueRangeError("the box must contain 0: the unperturbed image is not inside the pixel range")
    if subspace is None or not len(v):
        return Nearest(into_box_and_ball(v, low, high, radius, norm), 0.0, 0)
    if subspace.dim == 0:
        return Nearest(torch.zeros_like(v), 0.0, 0)
    low, high = within_support(subspace, low, high)
    if subspace.support is not None and subspace.dim == int(subspace.support.sum()) and metric is None:
        # Every perturbation of the mask is in the subspace.
        return Nearest(into_box_and_ball(subspace.project(v), low, high, radius, norm), 0.0, 0)
    # In float64 whatever the dtype of v: in float32 the two sides never quite agree.
    dtype, bounds = v.dtype, (low, high)
    v, low, high = v.double(), low.double(), high.double()

    def confine(points: Tensor, images: Tensor) -> Tensor:
        return into_box_and_ball(points, low[images], high[images], radius, norm)

    def pull(points: Tensor, images: Tensor) -> Tensor:
        difference = v[images] - points
        return weight[images] * (metric.apply(difference) if metric else difference)

    everything = torch.arange(len(v), device=v.device)
    size = l2_norms(v).clamp(min=TINY)
    share = (l2_norms(confine(v, everything)) / size).clamp(min=LEAST_SHARE)
    weight = WEIGHT * share
    state, goal, done = weight * v, tolerance * share * size, 0
    while True:
        first = splitting(state, subspace, confine, pull, goal, iterations - done, memory)
        done += first.iterations
        multiplier = subspace.reject(pull(first.inside, everything) - (first.state - first.inside)) / weight
        # From there to a near point of both sets.
        close = max(tolerance**2, DIGITS) * l2_norms(first.inside)
        last = splitting(first.inside, subspace, confine, None, close, iterations, memory)
        # An image of black and white pixels only may admit no harmless change but 0, and rounding errors are none.
        found = (share_outside(subspace, last.inside) <= tolerance**0.5) & (l2_norms(last.inside) > DIGITS * size)
        inside = torch.where(found, last.inside, 0.0)
        # The L2 paraboloid that touches that of the metric from below has another centre.
        centre = v
        if metric:
            centre, multiplier = inside + metric.apply(v - inside) / metric.least, multiplier / metric.least
        bound = (2 if metric else 1) * _bound(
            centre, inside, multiplier, subspace, confine(centre - multiplier, everything)
        )
        # Where v is far outside the box, small moves are no sign that the point is near the optimum.
        wanted = tolerance**0.5 * l2_norms(inside) + RESOLVED * size
        early = (bound > wanted) & (first.gap <= goal)
        if done >= iterations or not bool(early.any()):
            break
        state, goal = first.state, torch.where(early, goal / CLOSER, goal)
    optimality = float((bound / size).max())
    if dtype != inside.dtype:
        inside = into_box_and_ball(inside.to(dtype), *bounds, radius, norm)
    return Nearest(inside, float(share_outside(subspace, inside).max()), done + last.iterations, optimality)


def _bound(centre: Tensor, found: Tensor, multiplier: Tensor, subspace: Subspace, relaxed: Tensor) -> Tensor:
    """Bound the distance of a point from the projection of c by √(2 · duality gap), as ½‖· − c‖² is strongly convex.

    The dual function at μ is ½‖δ − c‖² + ⟨μ, δ⟩ at the projection δ of c − μ on box and ball. Its difference from
    ½‖found − c‖² is written as a product with the difference of the two points, so that nothing cancels.

    Args:
        centre: The centre c, ``(B, *shape)``.
        found: A point of all three sets, ``(B, *shape)``.
        multiplier: The multiplier μ, orthogonal to the subspace, ``(B, *shape)``.
        subspace: The subspace.
        relaxed: The projection δ of c − μ on box and ball, ``(B, *shape)``.
    """
    slope = (found + relaxed) / 2 - centre + multiplier
    product = ((found - relaxed) * slope).flatten(1).sum(1).reshape(-1, *[1] * (found.ndim - 1))
    # ⟨μ, found⟩ is 0 up to the rounding of either.
    return (2 * (product.clamp(min=0) + l2_norms(multiplier) * l2_norms(subspace.reject(found)))).sqrt()


def share_outside(subspace: Subspace, v: Tensor) -> Tensor:
    """Compute ‖(I − P) v‖ / ‖v‖ of each perturbation, shaped ``(B, 1, …, 1)``."""
    return l2_norms(subspace.reject(v)) / l2_norms(v).clamp(min=torch.finfo(v.dtype).tiny)
