"""Average pooling. Its weights are a product over the axes, so it is separable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ShapeError
from .kronecker import Kronecker
from .linear_map import Shape


class AveragePooling(Kronecker):
    """torch's ``AvgPool1d``, ``AvgPool2d`` and ``AvgPool3d``.

    Args:
        in_shape: ``(C, *spatial)``.
        kernel: window size an axis.
        stride: one number an axis.
        padding: zeros added on both sides, an axis.
        ceil_mode: whether a last window may reach over the end.
        count_include_pad: whether padded zeros count in the mean.
        divisor: divides the sum instead of the number of pixels.

    Raises:
        ShapeError: the window is larger than the padded image.
    """

    def __init__(
        self,
        in_shape: Shape,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> None:
        matrices = [
            _windows(size, k, s, p, ceil_mode, count_include_pad, divisor is not None)
            for size, k, s, p in zip(in_shape[-len(kernel) :], kernel, stride, padding, strict=True)
        ]
        if divisor is not None:
            matrices[0] = matrices[0] / divisor
        super().__init__(matrices, in_shape)
        self.kernel, self.stride, self.padding = tuple(kernel), tuple(stride), tuple(padding)


class AdaptiveAveragePooling(Kronecker):
    """torch's ``AdaptiveAvgPool1d``, ``…2d`` and ``…3d``.

    Args:
        in_shape: ``(C, *spatial)``.
        out: sizes wanted; None keeps an axis as it is.
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
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, include_pad: bool, as_sum: bool
) -> Tensor:
    """The matrix of pooling along one axis, ``(out, size)``."""
    reach = size + 2 * padding - kernel
    if reach < 0:
        raise ShapeError(f"a pooling window of {kernel} does not fit an axis of {size} padded by {padding}")
    out = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + padding:
        out -= 1  # torch: the last window must start inside the image or its left padding
    matrix = torch.zeros(out, size, dtype=torch.float64)
    for i in range(out):
        start = i * stride - padding
        end = min(start + kernel, size + padding)
        low, high = max(start, 0), min(end, size)
        count = 1 if as_sum else end - start if include_pad else high - low
        matrix[i, low:high] = 1 / count
    return matrix


def _adaptive(size: int, out: int) -> Tensor:
    """The matrix of adaptive pooling along one axis, ``(out, size)``."""
    matrix = torch.zeros(out, size, dtype=torch.float64)
    for i in range(out):
        low, high = i * size // out, -(-(i + 1) * size // out)
        matrix[i, low:high] = 1 / (high - low)
    return matrix
