"""A banded matrix applied along one axis of a tensor, block of rows by block of rows.

Known as blocked multiplication with a banded matrix (Golub & Van Loan 2013, section 4.3).
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

ROWS = 16
"""Rows per block. An antialiased resize 1080 → 224 in float64 takes 10, 12, 16 and 22 ms with 8, 16, 32 and 64 rows,
and 60 ms as one product."""

WORTHWHILE = 0.5
"""Largest share of the matrix that the blocks may hold; above it, the whole matrix is one block."""


class Banded:
    """The product y = M x along one axis.

    Each output of a resize reads a few neighbouring inputs. Each block of rows is multiplied with the columns that it
    reads, by dense products: several times faster than the whole matrix and, unlike a sparse matrix, on any device and
    under autograd.

    Args:
        matrix: The matrix M, ``(out, in)``, float64.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.out = len(matrix)
        self.is_identity = matrix.shape[0] == matrix.shape[1] and bool((matrix == torch.eye(self.out)).all())
        self.rows = [slice(start, min(start + ROWS, self.out)) for start in range(0, self.out, ROWS)]
        self.reads = [_window(matrix[rows]) for rows in self.rows]
        if sum(ROWS * (read.stop - read.start) for read in self.reads) > WORTHWHILE * matrix.numel():
            self.rows, self.reads = [slice(0, self.out)], [slice(0, matrix.shape[1])]
        self.blocks = [matrix[rows, read].contiguous() for rows, read in zip(self.rows, self.reads, strict=True)]
        self._casts: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    def along(self, x: Tensor, axis: int, onto: Tensor | None = None) -> Tensor:
        """The product M x along an axis, plus ``onto`` if given, in the dtype and on the device of x."""
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        shape = (*before, self.out, *after)
        if self.is_identity:
            return x if onto is None else onto + x
        x = x.reshape(prod(before), x.shape[axis], prod(after))
        base = None if onto is None else onto.reshape(len(x), self.out, x.shape[2])
        blocks = self._cast(x)
        if len(blocks) == 1:
            return _product(blocks[0], x[:, self.reads[0]], base).reshape(shape)
        y = x.new_empty(len(x), self.out, x.shape[2])
        for rows, read, block in zip(self.rows, self.reads, blocks, strict=True):
            y[:, rows] = _product(block, x[:, read], None if base is None else base[:, rows])
        return y.reshape(shape)

    def _cast(self, like: Tensor) -> list[Tensor]:
        key = (like.dtype, like.device)
        if key not in self._casts:
            self._casts[key] = [block.to(like.device, like.dtype) for block in self.blocks]
        return self._casts[key]


def _product(block: Tensor, x: Tensor, onto: Tensor | None) -> Tensor:
    """``onto`` plus the product of ``block`` with each ``(n, after)`` of x, ``(before, n, after)``; x is not copied."""
    if x.shape[2] == 1:
        values = x[:, :, 0]
        product = values @ block.T if onto is None else torch.addmm(onto[:, :, 0], values, block.T)
        return product[:, :, None]
    block = block.expand(len(x), -1, -1)
    return torch.bmm(block, x) if onto is None else torch.baddbmm(onto, block, x)


def _window(rows: Tensor) -> slice:
    """The columns from the first to the last nonzero one of some rows; empty if all are zero."""
    read = rows.any(0).nonzero().flatten()
    return slice(int(read[0]), int(read[-1]) + 1) if len(read) else slice(0, 0)
