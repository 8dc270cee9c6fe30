"""Matrices of average pooling along one axis; the windows of several axes are products over the axes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ShapeError


def window_matrix(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    as_sum: bool = False,
) -> Tensor:
    """The matrix ``(out, size)`` of pooling along one axis, float64.

    Args:
        size: Size of the axis in pixels.
        kernel: Size of a window.
        stride: Stride.
        padding: Zeros (before, after) the axis.
        dilation: Distance of the pixels of a window.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether padded zeros count in the mean.
        as_sum: Whether a window is summed instead of averaged.

    Raises:
        ShapeError: The window is larger than the padded axis.
    """
    before, after = padding
    rest = size + before + after - dilation * (kernel - 1) - 1
    if rest < 0:
        raise ShapeError(f"a pooling window of {kernel} does not fit an axis of {size} padded by {before} and {after}")
    out = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + before:
        out -= 1  # torch and ONNX: the last window must start inside the image or its left padding
    taps = stride * torch.arange(out)[:, None] - before + dilation * torch.arange(kernel)
    inside = (taps >= 0) & (taps < size)
    counted = taps < size + after if count_include_pad else inside
    weight = 1 / (torch.ones(out, dtype=torch.int64) if as_sum else counted.sum(1).clamp(min=1)).double()
    row, tap = inside.nonzero(as_tuple=True)
    matrix = torch.zeros(out, size, dtype=torch.float64)
    matrix[row, taps[row, tap]] = weight[row]
    return matrix


def adaptive_matrix(size: int, out: int) -> Tensor:
    """The matrix ``(out, size)`` of means over ``out`` windows that divide an axis evenly, float64."""
    row, pixel = torch.arange(out)[:, None], torch.arange(size)
    inside = (pixel >= row * size // out) & (pixel < -(-(row + 1) * size // out))
    return inside / inside.sum(1, keepdim=True, dtype=torch.float64)
