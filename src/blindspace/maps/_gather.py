"""Maps of which every output is one input value, or 0: slices, gathers, shuffles, concatenations."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .linear_map import LinearMap, Shape
from .padding import Padding
from .rearrange import Rearrange


class Gather(LinearMap):
    """``y[j] = x[read[j]]``, both flattened, and 0 where ``read[j]`` is −1.

    Args:
        in_shape: of one input.
        out_shape: of one output.
        read: as many whole numbers as an output has values, from −1 to the number of input values less one.

    Raises:
        ShapeError: ``read`` has another length, or points outside.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, read: Tensor) -> None:
        super().__init__(in_shape, out_shape)
        self.read = read.flatten().to(torch.int64)
        if len(self.read) != self.out_dim or not -1 <= int(self.read.min()) <= int(self.read.max()) < self.in_dim:
            raise ShapeError(f"{len(self.read)} positions of {self.in_dim} values cannot fill an output {out_shape}")

    @cached_property
    def once(self) -> bool:
        """Whether every output reads a value and no two the same one: A Aᵀ = I."""
        return int(self.read.min()) >= 0 and len(torch.unique(self.read)) == len(self.read)

    def _forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        extended = torch.cat([flat, flat.new_zeros(len(flat), 1)], 1)  # −1 is the last one
        return extended[:, self.read.to(x.device)].reshape(-1, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        total = y.new_zeros(len(y), self.in_dim + 1)
        total.index_add_(1, (self.read % (self.in_dim + 1)).to(y.device), y.flatten(1))
        return total[:, : self.in_dim].reshape(-1, *self.in_shape)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        rows = np.flatnonzero(self.read.numpy() >= 0)
        entries = (np.ones(len(rows)), (rows, self.read.numpy()[rows]))
        return scipy.sparse.csr_array(entries, shape=(self.out_dim, self.in_dim))


MOVES = (Rearrange, Padding, Gather)
"""The maps that only move values."""


def positions(operator: LinearMap) -> Tensor | None:
    """The input position that every output of a map reads, −1 for none, ``(out_dim,)``; None of other maps."""
    if not isinstance(operator, MOVES):
        return None
    if isinstance(operator, Gather):
        return operator.read
    numbered = torch.arange(1, operator.in_dim + 1, dtype=torch.float64).reshape(1, *operator.in_shape)
    return operator._forward(numbered).flatten().long() - 1


def gather(in_shape: Shape, out_shape: Shape, read: Tensor) -> LinearMap:
    """The selection as simply as it can be said: a reshape where nothing moves.

    Args:
        in_shape: of one input.
        out_shape: of one output.
        read: as of ``Selection``.
    """
    operator = Gather(in_shape, out_shape, read)
    still = operator.in_dim == operator.out_dim and torch.equal(operator.read, torch.arange(operator.in_dim))
    return Rearrange(in_shape, out_shape) if still else operator
