"""Maps that only move values: reshaping and permuting axes. Both are isometries: Aᵀ A = A Aᵀ = I."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import scipy.sparse
from torch import Tensor

from ..errors import ShapeError
from .linear_map import LinearMap, Shape


class Rearrange(LinearMap):
    """View as ``view``, permute its axes, view as ``out_shape``.

    Args:
        in_shape: of one input.
        out_shape: of one output, with as many values.
        view: between the two; ``in_shape`` if None.
        order: of the axes of ``view``; unchanged if None.

    Raises:
        ShapeError: the numbers of values differ, or ``order`` is no permutation.
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
    def still(self) -> bool:
        """Whether no value moves: it only reshapes."""
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
    """y = x.

    Args:
        shape: of one input and output.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, shape)
