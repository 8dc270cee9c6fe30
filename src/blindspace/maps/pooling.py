"""Average pooling, as a Kronecker product: its weights are products over the axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ShapeError
from .kronecker import Kronecker
from .linear_map import Shape


class AveragePooling(Kronecker):
    """Means over windows, as torch's ``AvgPool1d``, ``AvgPool2d`` and ``AvgPool3d`` and ONNX's AveragePool take them.

    Args:
        in_shape: Shape of one input, ``(C, *spatial)``.
        kernel: Size of a window per axis.
        stride: Stride per axis.
        padding: Zeros (before, after) per axis.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether padded zeros count in the mean.
        divisor: Number that divides the sum instead of the number of pixels.
        dilation: Distance of the pixels of a window per axis; 1 if None.

    Raises:
        ShapeError: A window is larger than the padded image.
    """

    def __init__(
        self,
        in_shape: Shape,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[tuple[int, int]],
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
        dilation: Sequence[int] | None = None,
    ) -> None:
        matrices = [
            _windows(size, k, s, p, d, ceil_mode, count_include_pad, divisor is not None)
            for size, k, s, p, d in zip(
                in_shape[-len(kernel) :], kernel, stride, padding, dilation or [1] * len(kernel), strict=True
            )
        ]
        if divisor is not None:
            matrices[0] = matrices[0] / divisor
        super().__init__(matrices, in_shape)


class AdaptiveAveragePooling(Kronecker):
    """Average pooling to a given size as torch's ``AdaptiveAvgPool1d``, ``…2d`` and ``…3d`` do it.

    Args:
        in_shape: Shape of one input, ``(C, *spatial)``.
        out: Sizes of the output, one per axis; None leaves an axis as it is.
    """

    def __init__(self, in_shape: Shape, out: Sequence[int | None]) -> None:
        super().__init__(
            [
                _adaptive(size, size if wanted is None else wanted)
                for size, wanted in zip(in_shape[-len(out) :], out, strict=True)
            ],
            in_shape,
        )


def _windows(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    ceil_mode: bool,
    include_pad: bool,
    as_sum: bool,
) -> Tensor:
    """The matrix of pooling along one axis, ``(out, size)``."""
    before, after = padding
    rest = size + before + after - dilation * (kernel - 1) - 1
    if rest < 0:
        raise ShapeError(f"a pooling window of {kernel} does not fit an axis of {size} padded by {before} and {after}")
    out = (-(-rest // stride) if ceil_mode else rest // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + before:
        out -= 1  # torch and ONNX: the last window must start inside the image or its left padding
    matrix = torch.zeros(out, size, dtype=torch.float64)
    for row in range(out):
        taps = row * stride - before + dilation * torch.arange(kernel)
        inside = taps[(taps >= 0) & (taps < size)]
        counted = int((taps < size + after).sum()) if include_pad else len(inside)
        matrix[row, inside] = 1 if as_sum else 1 / max(counted, 1)
    return matrix


def _adaptive(size: int, out: int) -> Tensor:
    """The matrix of adaptive pooling along one axis, ``(out, size)``."""
    matrix = torch.zeros(out, size, dtype=torch.float64)
    for i in range(out):
        low, high = i * size // out, -(-(i + 1) * size // out)
        matrix[i, low:high] = 1 / (high - low)
    return matrix
