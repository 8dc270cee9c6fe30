"""Matrices of Chromium's canvas, ``drawImage`` to another size, along both axes; its rasteriser is Skia.

Only what is separable is here: no smoothing, and the default ``imageSmoothingQuality`` "low". With "medium" and "high"
an image that shrinks is the sum of two levels of a pyramid, each resized, with weights that depend on both axes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from .base import Matrices, Resizer, Size
from .kernels import Array

ONE = 1 << 32
"""One pixel in the fixed-point numbers of Skia's positions."""

SIXTEENTH = ONE // 16

BEFORE = 1 << 16
"""What Skia takes off a position whose pixel it copies, so that ties go to the pixel before."""


def chromium_matrices(before: Size, after: Size, mode: str) -> Matrices:
    """The matrices (vertical, horizontal) of a canvas drawn on another one, drawn by software.

    Positions are fixed-point numbers that start from float32; horizontally they are summed up step by step. "low" is
    linear interpolation from positions cut off to 1/16 of a pixel; pixels beyond the border repeat the last one.

    Args:
        before: (height, width) of the image, in pixels.
        after: (height, width) after resizing.
        mode: "off" for ``imageSmoothingEnabled = false``, or "low".

    Source: Skia's core/SkBitmapProcState.cpp and SkBitmapProcState_matrixProcs.cpp.
    """
    rows = _positions(before[0], after[0], walks=False)
    columns = _positions(before[1], after[1], walks=True)
    along = _picked if mode == "off" else _linear
    return along(before[0], rows), along(before[1], columns)


def _positions(size: int, out: int, walks: bool) -> Array:
    """Where the centre of each output pixel lies, in fixed point."""
    step = np.float32(1) / (np.float32(out) / np.float32(size))
    x = np.arange(out)
    if walks:
        return int(float(np.float32(0.5) * step) * ONE) + x * int(float(step) * ONE)
    found: Array = ((x.astype(np.float32) + np.float32(0.5)) * step * np.float64(ONE)).astype(np.int64)
    return found


def _picked(size: int, at: Array) -> Tensor:
    return torch.from_numpy(np.eye(size)[((at - BEFORE) >> 32).clip(0, size - 1)])


def _linear(size: int, at: Array) -> Tensor:
    at = at - ONE // 2
    first, rest = at >> 32, at % ONE // SIXTEENTH / 16
    matrix, row = np.zeros((len(at), size)), np.arange(len(at))
    np.add.at(matrix, (row, first.clip(0, size - 1)), 1 - rest)
    np.add.at(matrix, (row, (first + 1).clip(0, size - 1)), rest)
    return torch.from_numpy(matrix)


def _resizer(mode: str, linear: str, eight_bit: str, bound: float) -> Resizer:
    build = partial(chromium_matrices, mode=mode)
    return Resizer(f"chromium {mode}", "chromium", mode, linear, eight_bit, bound, build)


RESIZERS = (
    _resizer("off", "linear", "copied unchanged", 0.0),
    _resizer(
        "low",
        "linear up to rounding to 8 bits, the only images there are; positions are cut off to 1/16 of a pixel",
        "weights of 8 bits in fixed point; the result is cut off, not rounded",
        1.0,
    ),
)
"""Chromium's ways to resize that are separable; "low" is the default of every canvas."""
