"""Maps each of whose outputs is one input value, or 0: reshaping, permuting axes, slicing, gathering, shuffling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .linear_map import LinearMap, Shape


class Rearrange(LinearMap):
    """A permutation of the values: view as ``view``, permute its axes, view as ``out_shape``. Aᵀ A = A Aᵀ = I.

    Args:
        in_shape: Shape of one input.
        out_shape: Shape of one output, with as many values.
        view: Shape whose axes are permuted; ``in_shape`` if None.
        order: Order of the axes of ``view``; unchanged if None.

    Raises:
        ShapeError: The numbers of values differ, or ``order`` is not a permutation of the axes.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, view: Shape | None = None, order: Sequence[int] | None = None
    ) -> None:
        super().__init__(in_shape, out_shape)
        self.view = tuple(view or in_shape)
        self.order = tuple(order if order is not None else range(len(self.view)))
        if not prod(self.view) == self.in_dim == self.out_dim:
            raise ShapeError(f"cannot rearrange {self.in_dim} values of {in_shape} into {out_shape}")
        if sorted(self.order) != list(range(len(self.view))):
            raise ShapeError(f"{self.order} is no permutation of {len(self.view)} axes")

    @property
    def keeps_order(self) -> bool:
        """Whether the values keep their order, so that the map only reshapes."""
        return self.order == tuple(range(len(self.order)))

    def _forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, *self.view).permute(0, *(axis + 1 for axis in self.order))
        return x.reshape(-1, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        back = np.argsort(self.order)
        y = y.reshape(-1, *(self.view[axis] for axis in self.order)).permute(0, *(int(axis) + 1 for axis in back))
        return y.reshape(-1, *self.in_shape)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        read = np.arange(self.in_dim).reshape(self.view).transpose(self.order).ravel()
        return scipy.sparse.csr_array((np.ones(self.in_dim), (np.arange(self.in_dim), read)))


class Identity(Rearrange):
    """The identity, y = x.

    Args:
        shape: Shape of one input and of one output.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape)


class Gather(LinearMap):
    """The map ``y[j] = x[read[j]]``, both flattened, with 0 where ``read[j]`` is −1.

    Args:
        in_shape: Shape of one input.
        out_shape: Shape of one output.
        read: Position in the input that each output value reads: whole numbers from −1 to ``in_dim − 1``, as many as
            an output has values.

    Raises:
        ShapeError: ``read`` has another length, or a position lies outside the input.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, read: Tensor) -> None:
        super().__init__(in_shape, out_shape)
        self.read = read.flatten().to(torch.int64)
        if len(self.read) != self.out_dim or not -1 <= int(self.read.min()) <= int(self.read.max()) < self.in_dim:
            raise ShapeError(f"{len(self.read)} positions of {self.in_dim} values cannot fill an output {out_shape}")

    def _forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        extended = torch.cat([flat, flat.new_zeros(len(flat), 1)], 1)  # position −1 reads the 0 at the end
        return extended[:, self.read.to(x.device)].reshape(-1, *self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        total = y.new_zeros(len(y), self.in_dim + 1)
        total.index_add_(1, (self.read % (self.in_dim + 1)).to(y.device), y.flatten(1))
        return total[:, : self.in_dim].reshape(-1, *self.in_shape)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        rows = np.flatnonzero(self.read.numpy() >= 0)
        entries = (np.ones(len(rows)), (rows, self.read.numpy()[rows]))
        return scipy.sparse.csr_array(entries, shape=(self.out_dim, self.in_dim))


def gather(in_shape: Shape, out_shape: Shape, read: Tensor) -> LinearMap:
    """The gathering map in its simplest form: a ``Rearrange`` where all values keep their order, else a ``Gather``.

    Arguments and errors are those of ``Gather``.
    """
    operator = Gather(in_shape, out_shape, read)
    ordered = operator.in_dim == operator.out_dim and torch.equal(operator.read, torch.arange(operator.in_dim))
    return Rearrange(in_shape, out_shape) if ordered else operator
