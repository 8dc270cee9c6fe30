"""Matrices of Pillow's resize along one axis."""

from __future__ import annotations

from functools import partial
from math import ceil

import numpy as np
from torch import Tensor, from_numpy

from .base import Resizer, each_axis
from .kernels import Array, Kernel, box, cubic, hamming, lanczos, triangle

PIL_FILTERS: dict[str, tuple[float, Kernel]] = {
    "nearest": (0.0, box),
    "box": (0.5, box),
    "bilinear": (1.0, triangle),
    "hamming": (1.0, hamming),
    "bicubic": (2.0, cubic),
    "lanczos": (3.0, lanczos),
}
"""Pillow's modes: radius of each filter, in pixels of the coarser image, and its kernel function."""

BOUNDS = {"nearest": 0.0, "box": 1.0, "bilinear": 1.0, "hamming": 1.0, "bicubic": 1.2, "lanczos": 1.4}
"""The most by which Pillow's eight-bit results lie from the map's where nothing is clipped, in steps of 1/255."""


def pil_matrix(
    size: int,
    out: int,
    mode: str,
    box: tuple[float, float] | None = None,
    reducing_gap: float | None = None,
) -> Tensor:
    """The matrix ``(out, size)`` of Pillow's resize along one axis, as it runs in float64 on images of mode F.

    For eight-bit images Pillow also rounds the result.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        mode: One of ``PIL_FILTERS``.
        box: (start, end) of the part that is resized, in pixels; all of the axis if None.
        reducing_gap: Factor that is left to the filter after means of whole blocks of pixels; no such means if None.

    Source: Pillow's Resample.c (``precompute_coeffs``), Image.py (``resize``) and, for nearest, Geometry.c
    (``ImagingScaleAffine``).
    """
    start, end = box or (0.0, float(size))
    block = int((end - start) / out / reducing_gap) if reducing_gap and mode != "nearest" else 1
    if block <= 1:
        return from_numpy(_resampled(size, out, mode, start, end))
    reach = (PIL_FILTERS[mode][0] - 0.5) * (end - start) / out
    first, beyond = max(0, int(start - reach)), min(size, ceil(end + reach))
    means = _means(beyond - first, block)
    matrix = np.zeros((out, size))
    resampled = _resampled(len(means), out, mode, (start - first) / block, (end - first) / block)
    matrix[:, first:beyond] = resampled @ means
    return from_numpy(matrix)


def _resampled(size: int, out: int, mode: str, start: float, end: float) -> Array:
    """The filter over the part of the axis from start to end."""
    if (start, end) == (0, out) and size == out:
        return np.eye(size)  # Pillow does not resample such an axis
    scale = (end - start) / out
    matrix = np.zeros((out, size))
    if mode == "nearest":
        # Pillow accumulates the step size; where a position falls between two pixels, its rounding decides.
        read = np.cumsum([start + scale * 0.5] + [scale] * (out - 1)).astype(np.int64)
        matrix[np.arange(out), read.clip(max=size - 1)] = 1
        return matrix
    radius, kernel = PIL_FILTERS[mode]
    widened = max(scale, 1.0)
    centre = start + (np.arange(out)[:, None] + 0.5) * scale
    pixel = np.arange(size)
    first = (centre - radius * widened + 0.5).clip(min=0).astype(np.int64)
    beyond = (centre + radius * widened + 0.5).astype(np.int64)
    inside = (pixel >= first) & (pixel < beyond)
    matrix[inside] = kernel(((pixel - centre + 0.5) * (1 / widened))[inside])
    total = matrix.sum(1, keepdims=True)
    normalised: Array = matrix / np.where(total == 0, 1, total)
    return normalised


def _means(size: int, block: int) -> Array:
    """Means of whole blocks; the last one may have fewer pixels."""
    means = np.zeros((ceil(size / block), size))
    means[np.arange(size) // block, np.arange(size)] = 1
    normalised: Array = means / means.sum(1, keepdims=True)
    return normalised


GAP = " reducing-gap"
"""Ending of the mode that first takes means of blocks, with a gap of 2, as ``Image.thumbnail`` does."""

RESIZERS = tuple(
    Resizer(
        name=f"pil {mode}",
        library="pil",
        mode=mode,
        linear="linear on images of mode F; nearest on those of any mode",
        eight_bit=(
            "copied unchanged"
            if mode == "nearest"
            else "means of blocks rounded, then weights of 22 bits in fixed point; rounded to 0…255 after each pass"
            if mode.endswith(GAP)
            else "weights of 22 bits in fixed point; rounded to 0…255 after each pass, the horizontal one first"
        ),
        bound=BOUNDS[mode.removesuffix(GAP)] + 0.5 * mode.endswith(GAP),
        build=each_axis(
            partial(pil_matrix, mode=mode.removesuffix(GAP), reducing_gap=2.0 if mode.endswith(GAP) else None)
        ),
    )
    for mode in (*PIL_FILTERS, "bicubic" + GAP)
)
"""Pillow's ways to resize."""
