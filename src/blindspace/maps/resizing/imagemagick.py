"""Matrices of ImageMagick's resizes along one axis."""

from __future__ import annotations

from functools import partial
from math import floor

import numpy as np
import torch
from torch import Tensor

from .base import Resizer, each_axis
from .cell_means import cell_means
from .kernels import Array, Kernel, cubic, lanczos, mitchell, triangle

EPSILON = 1e-12
"""What ImageMagick adds to every position."""


def _ones(x: Array) -> Array:
    return np.ones_like(x)


FILTERS: dict[str, tuple[float, Kernel]] = {
    "box": (0.5, _ones),
    "triangle": (1.0, triangle),
    "catrom": (2.0, cubic),
    "mitchell": (2.0, mitchell),
    "lanczos": (3.0, lanczos),
}
"""Radius of each filter, in pixels of the coarser image, and its kernel function."""


def imagemagick_matrix(size: int, out: int, mode: str) -> Tensor:
    """The matrix ``(out, size)`` of ImageMagick's ``-filter MODE -resize`` along one axis.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        mode: One of ``FILTERS``.

    Source: ImageMagick's resize.c (``HorizontalFilter``).
    """
    factor = out / size
    radius, kernel = FILTERS[mode]
    scale = max(1 / factor + EPSILON, 1.0)
    support = scale * radius
    if support < 0.5:
        support, scale = 0.5, 1.0
    at = ((np.arange(out) + 0.5) / factor + EPSILON)[:, None]
    first, beyond = np.floor((at - support + 0.5).clip(min=0)), np.floor((at + support + 0.5).clip(max=size))
    pixel = np.arange(size)
    inside = (pixel >= first) & (pixel < beyond)
    weights = np.where(inside, kernel((pixel - at + 0.5) / scale), 0)
    return torch.from_numpy(weights / weights.sum(1, keepdims=True))


def sample_matrix(size: int, out: int) -> Tensor:
    """The matrix ``(out, size)`` of ``-sample``: the pixel under the centre of each output pixel."""
    read = [floor((x + 0.5 - 1e-12) * size / out) for x in range(out)]
    return torch.from_numpy(np.eye(size)[read])


FIXED = "computed in 16 bits, rounded and clipped to 0…65535 after each pass, then rounded to 8 bits"

RESIZERS = (
    *(
        Resizer(
            name=f"imagemagick {mode}",
            library="imagemagick",
            mode=mode,
            linear="linear up to rounding to 16 bits after each pass (builds without HDRI)",
            eight_bit=FIXED,
            bound=1.1,
            build=each_axis(partial(imagemagick_matrix, mode=mode)),
        )
        for mode in FILTERS
    ),
    Resizer(
        name="imagemagick scale",
        library="imagemagick",
        mode="scale",
        linear="linear up to rounding to 16 bits",
        eight_bit=FIXED,
        bound=1.1,
        build=each_axis(cell_means),
    ),
    Resizer(
        name="imagemagick sample",
        library="imagemagick",
        mode="sample",
        linear="linear",
        eight_bit="copied unchanged",
        bound=0.0,
        build=each_axis(sample_matrix),
    ),
)
"""ImageMagick's ways to resize; ``-resize`` alone is "lanczos" where the image shrinks, "mitchell" where it grows."""
