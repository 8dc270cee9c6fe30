"""Convolutions in one, two and three dimensions, with every option of torch's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from .linear_map import Array, LinearMap, Shape, as_parameter, as_shape
from .padding import Padding

_CONV: list[Any] = [F.conv1d, F.conv2d, F.conv3d]
_CONV_TRANSPOSE: list[Any] = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]


class Convolution(LinearMap):
    """Cross-correlation with kernels, as torch's ``conv1d``, ``conv2d`` and ``conv3d``.

    Args:
        weight: Kernels ``(C_out, C_in / groups, *kernel)``; kept in float64.
        in_shape: Shape of one input, ``(C_in, *spatial)``.
        stride: Distance between two positions of the kernel in pixels, one number per axis.
        padding: Pixels added (before, after) each axis; negative numbers crop.
        dilation: Distance between two taps of the kernel in pixels, one number per axis.
        groups: Number of separate groups of channels.
        mode: Values outside the image, one of ``padding.PADDING_MODES``.

    Raises:
        ShapeError: Channels, groups or axes do not fit, or the kernel is larger than the padded image.
    """

    def __init__(
        self,
        weight: Array,
        in_shape: Shape,
        stride: Sequence[int],
        padding: Sequence[tuple[int, int]],
        dilation: Sequence[int],
        groups: int = 1,
        mode: str = "zeros",
    ) -> None:
        self.weight = weight = as_parameter(weight, "weight")
        in_shape, axes = as_shape(in_shape), weight.ndim - 2
        if axes not in (1, 2, 3) or len(in_shape) != axes + 1:
            raise ShapeError(f"kernels {tuple(weight.shape)} need an input (C, {axes} spatial sizes), got {in_shape}")
        if in_shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
            raise ShapeError(
                f"kernels {tuple(weight.shape)} in {groups} groups read {weight.shape[1] * groups} channels, "
                f"the input {in_shape} has {in_shape[0]}"
            )
        self.kernel = tuple(weight.shape[2:])
        self.stride, self.padding, self.dilation = tuple(stride), tuple(padding), tuple(dilation)
        self.groups = groups
        self.mode = mode
        # Symmetric zero padding is done by torch's convolution itself, without a copy of the image.
        self._native = mode == "zeros" and all(before == after >= 0 for before, after in self.padding)
        self._pad = Padding(in_shape, self.padding, mode)
        padded = self._pad.out_shape[1:]
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        if any(r > p for r, p in zip(reach, padded, strict=True)):
            raise ShapeError(f"a kernel reaching over {tuple(reach)} pixels does not fit a padded image of {padded}")
        out = [(p - r) // s + 1 for p, r, s in zip(padded, reach, self.stride, strict=True)]
        super().__init__(in_shape, (weight.shape[0], *out))
        # Number of pixels at the end of each axis that no position of the kernel reaches.
        self._unread = tuple((p - r) % s for p, r, s in zip(padded, reach, self.stride, strict=True))

    def _forward(self, x: Tensor) -> Tensor:
        weight = self._cast("weight", x)
        padding: Any = [before for before, _ in self.padding] if self._native else 0
        x = x if self._native else self._pad._forward(x)
        y: Tensor = _CONV[len(self.kernel) - 1](x, weight, None, self.stride, padding, self.dilation, self.groups)
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        weight = self._cast("weight", y)
        padding: Any = [before for before, _ in self.padding] if self._native else 0
        x: Tensor = _CONV_TRANSPOSE[len(self.kernel) - 1](
            y, weight, None, self.stride, padding, self._unread, self.groups, self.dilation
        )
        return x if self._native else self._pad._adjoint(x)

    @cached_property
    def reads(self) -> list[Tensor]:
        """For each axis a table ``(out, kernel)`` of the position that each tap reads at each output, −1 for 0."""
        tables = []
        for axis, (k, s, d) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True)):
            at = s * torch.arange(self.out_shape[axis + 1])[:, None] + d * torch.arange(k)
            tables.append(self._pad.reads[axis][at])
        return tables

    def _to_scipy(self) -> scipy.sparse.csr_array:
        """The matrix of appendix E: each row holds a kernel at the pixels of the receptive field of an output."""
        axes = len(self.kernel)
        c_out, c_in = self.weight.shape[:2]
        # Flat position in the image for each (out_1…out_d, tap_1…tap_d), and whether all axes read inside the image.
        position = np.zeros((1,) * (2 * axes), dtype=np.int64)
        inside = np.ones((1,) * (2 * axes), dtype=bool)
        for axis, table in enumerate(self.reads):
            shape = [1] * (2 * axes)
            shape[axis], shape[axes + axis] = table.shape
            read = table.numpy().reshape(shape)
            position = position * self.in_shape[axis + 1] + read
            inside = inside & (read >= 0)
        pixels = int(np.prod(self.in_shape[1:]))
        taps = int(np.prod(self.kernel))
        position, inside = position.reshape(-1, taps), inside.reshape(-1, taps)
        site, tap = np.nonzero(inside)
        # The entries of one output channel, row after row in the order of the columns; the others have them shifted.
        channel = np.arange(c_in)[:, None]
        columns = (channel * pixels + position[site, tap]).ravel()
        order = np.lexsort((columns, np.tile(site, c_in)))
        lengths = np.bincount(site, minlength=position.shape[0]) * c_in
        starts = np.cumsum([0, *np.tile(lengths, c_out)])
        index = scipy.sparse.get_index_dtype(maxval=max(int(starts[-1]), self.in_dim))
        first = (np.arange(c_out) // (c_out // self.groups) * c_in * pixels).astype(index)
        columns = first[:, None] + columns[order].astype(index)
        values = self.weight.numpy().reshape(c_out, c_in * taps)[:, (channel * taps + tap).ravel()[order]]
        matrix = scipy.sparse.csr_array(
            (values.ravel(), columns.ravel(), starts.astype(index)), shape=(self.out_dim, self.in_dim)
        )
        matrix.sum_duplicates()  # padding by reflection reads a pixel more than once
        return matrix
