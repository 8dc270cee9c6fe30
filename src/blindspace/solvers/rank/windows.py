"""Small windows of a convolution, or of its adjoint: which of its rows meet which of its columns, axis by axis.

The rows of a map are its outputs, its columns its inputs. Along each axis a tap of the kernel connects a row with a
column; the matrix of a window of rows is the product of these connections over the axes. The kernel being the same
everywhere, windows with the same connections have the same matrix.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap
from ...maps.linear_map import Adjoint


class Axis:
    """The connections along one axis, ordered by rows.

    Args:
        reads: For each output and tap the place that it reads, −1 for none, int64 ``(out, kernel)``.
        inputs: Number of places.
        adjoint: Whether the places, rather than the outputs, are the rows.
    """

    def __init__(self, reads: np.ndarray, inputs: int, adjoint: bool) -> None:
        output, tap = np.nonzero(reads >= 0)
        row, column = output, reads[output, tap]
        self.rows, self.columns = len(reads), inputs
        if adjoint:
            row, column, self.rows, self.columns = column, row, self.columns, self.rows
        order = np.argsort(row, kind="stable")
        self.row, self.column, self.tap = row[order], column[order], tap[order]
        self.first = np.searchsorted(self.row, np.arange(self.rows + 1))
        self.taps = reads.shape[1]

    def is_like(self, other: Axis) -> bool:
        """Whether another axis has the same connections."""
        mine, others = ((axis.rows, axis.columns, axis.taps) for axis in (self, other))
        pairs = ((self.row, other.row), (self.column, other.column), (self.tap, other.tap))
        return mine == others and all(np.array_equal(a, b) for a, b in pairs)

    def met(self, start: int, stop: int) -> np.ndarray:
        """The columns that rows from ``start`` to before ``stop`` meet, ascending."""
        return np.unique(self.column[self.first[start] : self.first[stop]])

    def meeting(self, start: int, stop: int) -> tuple[int, int]:
        """The first row that meets one of the columns from ``start`` to before ``stop``, and the one after the last."""
        rows = self.row[(self.column >= start) & (self.column < stop)]
        return int(rows.min()), int(rows.max()) + 1

    def pattern(self, start: int, stop: int, marks: np.ndarray) -> tuple[bytes, ...]:
        """What makes two windows of rows alike: their connections, and the marks ``(columns, …)`` of what they meet."""
        part = slice(self.first[start], self.first[stop])
        column = self.column[part]
        relative = column - column[:1]
        return (
            bytes(stop - start),
            (self.row[part] - start).tobytes(),
            relative.tobytes(),
            self.tap[part].tobytes(),
            marks[column].tobytes(),
        )

    def table(self, start: int, stop: int, columns: np.ndarray) -> np.ndarray:
        """The tap that connects rows from ``start`` to before ``stop`` with columns, −1 for none, int64."""
        table = np.full((stop - start, len(columns)), -1)
        part = slice(self.first[start], self.first[stop])
        row, column, tap = self.row[part] - start, self.column[part], self.tap[part]
        if len(columns):
            at = np.searchsorted(columns, column).clip(max=len(columns) - 1)
            kept = columns[at] == column
            table[row[kept], at[kept]] = tap[kept]
        return table

    def counts(self, columns: np.ndarray) -> np.ndarray:
        """How many rows of the whole axis meet each of the columns by each tap, int64 ``(columns, taps)``."""
        counts: np.ndarray = np.zeros((self.columns, self.taps), dtype=np.int64)
        np.add.at(counts, (self.column, self.tap), 1)
        return np.asarray(counts[columns])


class Windowed(NamedTuple):
    """A convolution or its adjoint as windows see it.

    Attributes:
        kernel: Kernels ``(channels of the rows, channels of the columns, *taps)``.
        axes: The connections along each axis.
    """

    kernel: Tensor
    axes: list[Axis]

    @property
    def rank(self) -> int:
        """Number of columns that a row meets: the rank, if these are independent."""
        return self.kernel.shape[1] * prod(len(np.unique(axis.column)) for axis in self.axes)

    def matrix(self, tables: tuple[np.ndarray, ...]) -> Tensor:
        """The matrix ``(rows, columns)`` of a window, float64, channels slowest, from its tables along each axis."""
        axes = len(tables)
        padded = F.pad(self.kernel, (0, 1) * axes)  # tap −1 is 0
        index: list[Tensor] = []
        for axis, table in enumerate(tables):
            shape = [1] * (2 * axes)
            shape[axis], shape[axes + axis] = table.shape
            index.append(torch.from_numpy(table.reshape(shape)))
        everything: Any = slice(None), slice(None)
        entries = padded[(*everything, *index)]  # (rows' channels, columns' channels, *rows, *columns)
        order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
        shape = [len(self.kernel) * prod(table.shape[0] for table in tables), -1]
        return entries.permute(order).reshape(shape)

    def size(self, tables: tuple[np.ndarray, ...]) -> tuple[int, int]:
        """Rows and columns of that matrix."""
        rows, columns = (prod(table.shape[end] for table in tables) for end in (0, 1))
        return len(self.kernel) * rows, self.kernel.shape[1] * columns


def windowed(operator: LinearMap) -> Windowed:
    """A convolution that ``serves`` accepts, or the adjoint of one.

    Raises:
        UnsupportedLayerError: The map is another one.
    """
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if not serves(operator) or not isinstance(conv, Convolution):
        raise UnsupportedLayerError(f"{operator} is no convolution of one group with zeros outside the image")
    adjoint = conv is not operator
    axes = [Axis(reads.numpy(), size, adjoint) for reads, size in zip(conv.reads, conv.in_shape[1:], strict=True)]
    return Windowed(conv.weight.transpose(0, 1) if adjoint else conv.weight, axes)


def serves(operator: LinearMap) -> bool:
    """Whether the map is a convolution of one group with zeros outside the image, or the adjoint of one."""
    conv = operator.of if isinstance(operator, Adjoint) else operator
    return (
        isinstance(conv, Convolution)
        and conv.groups == 1
        and (conv.mode == "zeros" or not any(n > 0 for pair in conv.padding for n in pair))
    )
