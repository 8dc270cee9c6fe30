"""Matrices of OpenCV's resize along both axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .base import Matrices, Resizer, Size
from .kernels import Array, lanczos
from .pillow import pil_matrix

LEAST_PART = 1e-3
"""Part of a pixel, in pixels, up to which OpenCV leaves it out of an area."""


def opencv_matrices(before: Size, after: Size, mode: str) -> Matrices:
    """The matrices (vertical, horizontal) of OpenCV's resize, except by area.

    Pixels beyond the border repeat the last one. Positions are rounded to float32, save in linear interpolation of
    images of at least two rows and columns, which another routine (IPP's) does in OpenCV's builds for x86.

    Args:
        before: (height, width) of the image, in pixels.
        after: (height, width) after resizing.
        mode: One of nearest, nearest-exact, linear, linear-exact, cubic, lanczos4.

    Source: OpenCV's imgproc/src/resize.cpp; nearest-exact as OpenCV 5 was seen to do it.
    """
    exact = mode.startswith("linear") and min(before) > 1
    return _along(before[0], after[0], mode, exact), _along(before[1], after[1], mode, exact)


def _along(size: int, out: int, mode: str, exact: bool) -> Tensor:
    """The matrix along one axis; ``exact`` keeps the positions in float64."""
    step, x = 1 / (out / size), np.arange(out)
    if mode == "nearest":
        return _picked(size, np.floor(x * step).astype(np.int64))
    if mode == "nearest-exact":
        return pil_matrix(size, out, "nearest")
    at = (x + 0.5) * step - 0.5
    at = at if exact else at.astype(np.float32)
    first = np.floor(at).astype(np.int64)
    rest = (at - first).astype(np.float64)
    weights = WEIGHTS[mode](rest)
    radius = weights.shape[1] // 2
    return _spread(size, first[:, None] + np.arange(1 - radius, radius + 1), weights)


def _linear(rest: Array) -> Array:
    return np.stack([1 - rest, rest], 1)


def _cubic(rest: Array) -> Array:
    """The cubic convolution kernel with a = −3/4, by OpenCV's formulas in float32; the last weight is what is left."""
    a, x = np.float32(-0.75), rest.astype(np.float32)
    first = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    second = ((a + 2) * x - (a + 3)) * x * x + 1
    third = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1
    return np.stack([first, second, third, 1 - first - second - third], 1).astype(np.float64)


def _lanczos4(rest: Array) -> Array:
    weights = lanczos(np.arange(-3, 5) - rest[:, None], 4)
    normalised: Array = weights / weights.sum(1, keepdims=True)
    return normalised


WEIGHTS: dict[str, Callable[[Array], Array]] = {
    "linear": _linear,
    "linear-exact": _linear,
    "cubic": _cubic,
    "lanczos4": _lanczos4,
}
"""Weights ``(out, taps)`` of the pixels around each position, from its distance to the pixel before it.

OpenCV does not widen its filters where the image shrinks.
"""


def opencv_area(before: Size, after: Size) -> Matrices:
    """The matrices (vertical, horizontal) of OpenCV's resize by area.

    Where either axis grows, OpenCV interpolates along both instead, between pixels that stay sharp where they can.

    Source: OpenCV's imgproc/src/resize.cpp (``computeResizeAreaTab``).
    """
    shrinks = all(n >= wanted for n, wanted in zip(before, after, strict=True))
    along = _area if shrinks else _sharp
    return along(before[0], after[0]), along(before[1], after[1])


def _area(size: int, out: int) -> Tensor:
    """Means over the parts of pixels under an output pixel, without the parts that OpenCV leaves out."""
    step = 1 / (out / size)
    start, end = (np.arange(out) * step)[:, None], (np.arange(out) * step + step)[:, None]
    width = np.minimum(step, size - start)
    first, last = np.ceil(start), np.minimum(np.floor(end), size - 1)
    first = np.minimum(first, last)
    pixel = np.arange(size)
    whole = (pixel >= first) & (pixel < last)
    before, beyond = first - start, end - last
    matrix = whole / width
    matrix += np.where((pixel == first - 1) & (before > LEAST_PART), before, 0) / width
    matrix += np.where((pixel == last) & (beyond > LEAST_PART), np.minimum(np.minimum(beyond, 1), width), 0) / width
    return torch.from_numpy(matrix)


def _sharp(size: int, out: int) -> Tensor:
    """Linear interpolation only where the borders of input pixels fall inside an output pixel."""
    step, inverse, x = 1 / (out / size), out / size, np.arange(out)
    first = np.floor(x * step).astype(np.int64)
    rest = ((x + 1) - (first + 1) * inverse).astype(np.float32).astype(np.float64)
    rest = np.where(rest <= 0, 0, rest - np.floor(rest))
    return _spread(size, first[:, None] + np.arange(2), np.stack([1 - rest, rest], 1))


def _picked(size: int, read: Array) -> Tensor:
    matrix = np.zeros((len(read), size))
    matrix[np.arange(len(read)), read.clip(0, size - 1)] = 1
    return torch.from_numpy(matrix)


def _spread(size: int, taps: Array, weights: Array) -> Tensor:
    """Weights at pixels ``(out, taps)``; those beyond the border go to the last pixel."""
    matrix = np.zeros((len(taps), size))
    np.add.at(matrix, (np.arange(len(taps))[:, None], taps.clip(0, size - 1)), weights)
    return torch.from_numpy(matrix)


COPIED = "copied unchanged"
FIXED = "weights of 11 bits in fixed point, rounded and clipped to 0…255 once, after both passes"

RESIZERS = (
    *(
        Resizer(
            name=f"opencv {mode}",
            library="opencv",
            mode=mode,
            linear="linear; positions are rounded to float32" if mode in WEIGHTS else "linear",
            eight_bit=eight_bit,
            bound=bound,
            build=partial(opencv_matrices, mode=mode),
        )
        for mode, eight_bit, bound in (
            ("nearest", COPIED, 0.0),
            ("nearest-exact", COPIED, 0.0),
            ("linear", FIXED, 1.0),
            ("linear-exact", "weights of 8 bits in fixed point, rounded once", 1.5),
            ("cubic", FIXED, 1.0),
            ("lanczos4", FIXED, 1.0),
        )
    ),
    Resizer(
        name="opencv area",
        library="opencv",
        mode="area",
        linear="linear; parts of a pixel up to 1/1000 are left out, so that weights may not sum to 1",
        eight_bit="summed in float32 (in integers for whole ratios), rounded and clipped to 0…255",
        bound=1.0,
        build=opencv_area,
    ),
)
"""OpenCV's ways to resize."""
