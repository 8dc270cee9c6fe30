"""The image nearest to a given one that a linear map takes to given values, within the pixel range.

Known as the projection onto a polyhedron. Where no pixel is read twice it is exact (``disjoint_rows``), else iterative
(``dual_newton``). A Kronecker product leaves the axes before its own alone, so every channel is a problem by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, real
from ..maps import Kronecker, LinearMap
from ..maps.floating import within
from ..maps.linear_map import checked
from ..progress import Progress
from .clipped_products import ClippedKronecker, ClippedMap
from .disjoint_rows import Taps
from .disjoint_rows import move as move_exactly
from .dual_newton import Projection
from .moved import Moved

TINY = 1e-300


@dataclass(frozen=True)
class Preimage:
    """Result of ``nearest_preimage``.

    Attributes:
        images: Inside the range to the last bit, float64 ``(B, *in_shape)``.
        deviation: Largest |A y − t| of each image, ``(B,)``.
        gap: Bound on how much smaller ½ ‖y − x‖² of an image with the same deviations could be, as a share of ‖y − x‖²,
            the largest over the batch: the duality gap.
        iterations: Newton steps of the image, or the channel, that took most.
        products: Products with A and with Aᵀ of each image, counted together.
    """

    images: Tensor
    deviation: Tensor
    gap: float
    iterations: int
    products: int


def nearest_preimage(
    operator: LinearMap,
    images: Tensor,
    wanted: Tensor,
    tolerance: float = 0.0,
    *,
    low: float = 0.0,
    high: float = 1.0,
    accuracy: float = 1e-3,
    iterations: int = 40,
    inner: int = 60,
    progress: Progress | None = None,
) -> Preimage:
    """The image y in the range with the least ‖y − x‖ such that |A y − t| ≤ tolerance, or as near to t as there is.

    Args:
        operator: The map A, such as a resize.
        images: x, ``(B, *in_shape)``, in the range.
        wanted: t, ``(B, *out_shape)``.
        tolerance: Largest deviation per output that is allowed, ≥ 0.
        low: Lower end of the range.
        high: Upper end of the range.
        accuracy: Duality gap, as a share of ‖y − x‖², at which the iteration ends; then the nearest image is about that
            share nearer at most. Where no pixel is read for two outputs, the result is exact.
        iterations: Largest number of Newton steps.
        inner: Largest number of steps of conjugate gradients per Newton step.
        progress: Called before each image with images done, images in all and what is being done.

    Raises:
        ShapeError: Images or wanted values have another shape, or are not equally many.
        ValueRangeError: The tolerance is negative or not finite, or a value is outside the range or not finite.
    """
    x = checked(images, operator.in_shape, "image").detach().double().contiguous()
    t = checked(wanted, operator.out_shape, "wanted value").detach().double().to(x.device)
    if len(x) != len(t):
        raise ShapeError(f"{len(x)} images need as many wanted values, got {len(t)}")
    tolerance = real(tolerance, "tolerance")
    if not tolerance >= 0:
        raise ValueRangeError(f"a tolerance is at least 0, got {tolerance}")
    if not bool(t.isfinite().all()):
        raise ValueRangeError("the wanted values hold NaN or infinite ones")
    if not within(x, low, high):
        raise ValueRangeError(f"the images leave the range from {low:g} to {high:g}")
    made, away = x.clone(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    move = _mover(operator, x.device, tolerance, (low, high), (accuracy, iterations, inner))
    gap, steps, products = 0.0, 0, 0
    for i in range(len(x)):
        if progress is not None:
            progress(i, len(x), "nearest images")
        parts = move(made[i], t[i])
        gap = max(gap, sum(part.gap for part in parts) / max(sum(part.change for part in parts), TINY))
        steps = max([steps, *(part.iterations for part in parts)])
        products += sum(part.products for part in parts) // max(len(parts), 1)
        away[i] = max((part.deviation for part in parts), default=0.0)
    return Preimage(made, away, gap, steps, products // max(len(x), 1))


Move = Callable[[Tensor, Tensor], list[Moved]]
"""Moves an image in place to where the map takes it to given values; one entry per part that was moved by itself."""


def _mover(
    operator: LinearMap,
    device: torch.device,
    tolerance: float,
    ends: tuple[float, float],
    limits: tuple[float, int, int],
) -> Move:
    """The way to move images for a map."""
    if not isinstance(operator, Kronecker) or len(operator.matrices) > 2:
        return partial(_moved_whole, Projection(ClippedMap(operator, *ends), tolerance), limits)
    matrices = [matrix.to(device) for matrix in operator.matrices]
    rows, columns = matrices if len(matrices) == 2 else (torch.eye(1, dtype=torch.float64, device=device), *matrices)
    down, across = Taps.of(rows), Taps.of(columns)
    if down is not None and across is not None:
        move = partial(move_exactly, down, across, tolerance=tolerance, ends=ends)
    else:
        read = (rows != 0).any(0).nonzero()[:, 0], (columns != 0).any(0).nonzero()[:, 0]
        clipped = ClippedKronecker(rows[:, read[0]].contiguous(), columns[:, read[1]].contiguous(), *ends)
        move = partial(_moved_where_read, Projection(clipped, tolerance), limits, read)

    def channels(y: Tensor, t: Tensor) -> list[Moved]:
        planes = y.view(-1, rows.shape[1], columns.shape[1])
        return [move(*both) for both in zip(planes, t.reshape(len(planes), len(rows), len(columns)), strict=True)]

    return channels


def _moved_whole(problem: Projection, limits: tuple[float, int, int], y: Tensor, t: Tensor) -> list[Moved]:
    image, moved = problem.solve(y[None], t[None], *limits)
    y.copy_(image[0])
    return [moved]


def _moved_where_read(
    problem: Projection, limits: tuple[float, int, int], read: tuple[Tensor, Tensor], y: Tensor, t: Tensor
) -> Moved:
    """Move a channel ``(H, W)`` by the problem of the rows and columns that are read."""
    every = (len(read[0]), len(read[1])) == y.shape
    image, moved = problem.solve((y if every else y[read[0]][:, read[1]])[None], t[None], *limits)
    if every:
        y.copy_(image[0])
    else:
        y[read[0][:, None], read[1]] = image[0]
    return moved
