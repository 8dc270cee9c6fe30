"""Matrices of Pillow's resize along one axis."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor, eye, float64, from_numpy

from .base import Resizer, each_axis
from .kernels import Kernel, box, cubic, hamming, lanczos, triangle

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


def pil_matrix(size: int, out: int, mode: str) -> Tensor:
    """The matrix ``(out, size)`` of Pillow's resize along one axis, as it runs in float64 on images of mode F.

    For eight-bit images Pillow also rounds the result.

    Source: Pillow's Resample.c (``precompute_coeffs``) and, for nearest, Geometry.c (``ImagingScaleAffine``).
    """
    if size == out:
        return eye(size, dtype=float64)  # Pillow does not resample such an axis
    scale = size / out
    matrix = np.zeros((out, size))
    if mode == "nearest":
        # Pillow accumulates the step size; where a position falls between two pixels, its rounding decides.
        read = np.cumsum([scale * 0.5] + [scale] * (out - 1)).astype(np.int64)
        matrix[np.arange(out), read.clip(max=size - 1)] = 1
        return from_numpy(matrix)
    radius, kernel = PIL_FILTERS[mode]
    widened = max(scale, 1.0)
    centre = (np.arange(out)[:, None] + 0.5) * scale
    pixel = np.arange(size)
    first = (centre - radius * widened + 0.5).clip(min=0).astype(np.int64)
    beyond = (centre + radius * widened + 0.5).astype(np.int64)
    inside = (pixel >= first) & (pixel < beyond)
    matrix[inside] = kernel(((pixel - centre + 0.5) * (1 / widened))[inside])
    total = matrix.sum(1, keepdims=True)
    return from_numpy(matrix / np.where(total == 0, 1, total))


RESIZERS = tuple(
    Resizer(
        name=f"pil {mode}",
        library="pil",
        mode=mode,
        linear="linear on images of mode F; nearest on those of any mode",
        eight_bit=(
            "copied unchanged"
            if mode == "nearest"
            else "weights of 22 bits in fixed point; rounded to 0…255 after each pass, the horizontal one first"
        ),
        bound=BOUNDS[mode],
        build=each_axis(partial(pil_matrix, mode=mode)),
    )
    for mode in PIL_FILTERS
)
"""Pillow's ways to resize."""
