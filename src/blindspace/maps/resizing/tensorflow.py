"""Matrices of TensorFlow's resizes along one axis, by the formulas of its kernels."""

from __future__ import annotations

from functools import partial
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from .base import Resizer, each_axis
from .kernels import Array, Kernel, cubic, lanczos, mitchell, triangle

HALF, CORNER, ALIGNED = "half-pixel", "v1", "v1 align-corners"
"""Where pixels lie: TensorFlow 2's centres, TensorFlow 1's corners, and the centres of the corner pixels aligned."""

TABLE = 1024
"""Number of positions between two pixels for which TensorFlow has weights of the bicubic kernel."""

RADIUS_OF_GAUSSIAN = 1.5


def _gaussian(x: Array) -> Array:
    """A Gaussian of standard deviation 1/2, cut off at distance 3/2."""
    return np.where(np.abs(x) < RADIUS_OF_GAUSSIAN, np.exp(-2 * x * x), 0)


SAMPLERS: dict[str, tuple[float, Kernel]] = {
    "bilinear": (1.0, triangle),
    "bicubic": (2.0, cubic),
    "lanczos3": (3.0, lanczos),
    "lanczos5": (5.0, partial(lanczos, lobes=5)),
    "gaussian": (RADIUS_OF_GAUSSIAN, _gaussian),
    "mitchellcubic": (2.0, mitchell),
}
"""Radius of each filter of ``tf.image.resize``, in pixels of the coarser image with antialias, and its kernel."""


def nearest_matrix(size: int, out: int, where: str) -> Tensor:
    """The matrix ``(out, size)`` of TensorFlow's resize to the nearest pixel along one axis, positions in float32.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        where: ``HALF``, ``CORNER`` or ``ALIGNED``.
    """
    at = _positions(size, out, where, for_nearest=True)
    read = np.floor(at + np.float32(0.5)) if where == ALIGNED else np.floor(at)
    return torch.from_numpy(np.eye(size)[read.astype(np.int64).clip(0, size - 1)])


def bilinear_matrix(size: int, out: int, where: str) -> Tensor:
    """The matrix ``(out, size)`` of ``tf.image.resize`` to "bilinear" without antialias, or of TensorFlow 1's."""
    at = _positions(size, out, where)
    first = np.floor(at)
    rest = (at - first).astype(np.float64)
    return _spread(size, first.astype(np.int64)[:, None] + np.arange(2), np.stack([1 - rest, rest], 1))


def bicubic_matrix(size: int, out: int, where: str) -> Tensor:
    """The matrix ``(out, size)`` of "bicubic" without antialias, or of TensorFlow 1's, from a table of weights.

    For half-pixel centres the kernel has the coefficient −1/2, and pixels beyond the border are left out; for others
    it has −3/4, and the border pixel repeats.
    """
    at = _positions(size, out, where)
    first = np.floor(at)
    offset = np.rint((at - first) * np.float32(TABLE)) / TABLE
    taps = np.arange(-1, 3)
    weights = cubic(taps - offset.astype(np.float64)[:, None], -0.5 if where == HALF else -0.75)
    read = first.astype(np.int64)[:, None] + taps
    if where == HALF:
        weights = np.where((read >= 0) & (read < size), weights, 0)
        weights /= weights.sum(1, keepdims=True)
    return _spread(size, read, weights)


def area_matrix(size: int, out: int) -> Tensor:
    """The matrix ``(out, size)`` of TensorFlow's "area": means over the part of the axis under an output pixel."""
    step = np.float32(size) / np.float32(out)
    matrix = np.zeros((out, size))
    for row in range(out):
        start, end = np.float32(row) * step, np.float32(row + 1) * step
        for pixel in range(floor(start), ceil(end)):
            before, beyond = max(float(start) - pixel, 0.0), max(pixel + 1.0 - float(end), 0.0)
            part = float(step) if before and beyond else 1 - before - beyond
            matrix[row, min(pixel, size - 1)] += part / float(step)
    return torch.from_numpy(matrix)


def scaled_matrix(size: int, out: int, mode: str, antialias: bool) -> Tensor:
    """The matrix ``(out, size)`` of TensorFlow 2's resize by any of ``SAMPLERS``, with or without antialias.

    Source: TensorFlow's core/kernels/image/scale_and_translate_op.cc (``ComputeSpansCore``).
    """
    inverse = np.float32(1) / (np.float32(out) / np.float32(size))
    radius, kernel = SAMPLERS[mode]
    widened = max(inverse, np.float32(1)) if antialias else np.float32(1)
    reach = np.float32(radius) * widened
    at = (np.arange(out).astype(np.float32) + np.float32(0.5)) * inverse
    first = np.maximum(np.ceil(at - reach - np.float32(0.5)), 0)
    last = np.minimum(np.floor(at + reach - np.float32(0.5)), size - 1)
    pixel = np.arange(size).astype(np.float32)
    inside = (pixel >= first[:, None]) & (pixel <= last[:, None])
    x = (pixel + np.float32(0.5) - at[:, None]) / widened
    weights = np.where(inside, kernel(x).astype(np.float64), 0)
    total = weights.sum(1, keepdims=True)
    return torch.from_numpy(weights / np.where(np.abs(total) < 1000 * np.finfo(np.float32).tiny, 1, total))


def _positions(size: int, out: int, where: str, for_nearest: bool = False) -> Array:
    """The position of each output pixel among the input pixels, ``(out,)``, in float32."""
    x = np.arange(out).astype(np.float32)
    aligned = where == ALIGNED and out > 1
    step = np.float32(size - 1) / np.float32(out - 1) if aligned else np.float32(size) / np.float32(out)
    if where == HALF:
        centre = (x + np.float32(0.5)) * step
        return centre if for_nearest else centre - np.float32(0.5)
    return x * step


def _spread(size: int, taps: Array, weights: Array) -> Tensor:
    matrix = np.zeros((len(taps), size))
    np.add.at(matrix, (np.arange(len(taps))[:, None], taps.clip(0, size - 1)), weights)
    return torch.from_numpy(matrix)


ANTIALIAS = " antialias"
COPIED, FLOATS = "copied unchanged", "converted to float32; the result is float32, neither rounded nor clipped"


def _resizer(mode: str, matrix: partial[Tensor], eight_bit: str = FLOATS) -> Resizer:
    linear = "linear; positions are rounded to float32"
    if mode.startswith("bicubic") and ANTIALIAS not in mode:
        linear += f", then to 1/{TABLE} of a pixel"
    return Resizer(f"tensorflow {mode}", "tensorflow", mode, linear, eight_bit, 0.0, each_axis(matrix))


RESIZERS = (
    *(
        _resizer(kind + ("" if where == HALF else f" {where}"), partial(matrix, where=where), words)
        for kind, matrix, words in (
            ("nearest", nearest_matrix, COPIED),
            ("bilinear", bilinear_matrix, FLOATS),
            ("bicubic", bicubic_matrix, FLOATS),
        )
        for where in (HALF, CORNER, ALIGNED)
    ),
    _resizer("area", partial(area_matrix)),
    *(
        _resizer(mode + ANTIALIAS * antialias, partial(scaled_matrix, mode=mode, antialias=antialias))
        for mode in SAMPLERS
        for antialias in (False, True)
        if antialias or mode not in ("bilinear", "bicubic")
    ),
)
"""TensorFlow's ways to resize: those of ``tf.image.resize``, and with "v1" those of ``tf.compat.v1.image``."""
