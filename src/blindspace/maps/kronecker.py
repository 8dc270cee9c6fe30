"""One small matrix for each axis, A = M₁ ⊗ M₂ ⊗ …: pooling, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from math import prod

import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .banded import Banded
from .linear_map import LinearMap, Shape

ACROSS = 2.0
"""A product along the last axis runs across memory and takes about twice as long as along another (measured)."""


class Kronecker(LinearMap):
    """Matrices applied along the last axes, one an axis; the axes before them are left alone.

    Args:
        matrices: ``(out_i, in_i)`` for each of the last axes, first axis first; kept in float64.
        in_shape: of one input.

    Raises:
        ShapeError: a matrix does not fit its axis.
    """

    def __init__(self, matrices: Sequence[Tensor], in_shape: Shape) -> None:
        self.axes = range(len(in_shape) - len(matrices), len(in_shape))
        self.matrices = [matrix.detach().to("cpu", torch.float64) for matrix in matrices]
        for axis, matrix in zip(self.axes, self.matrices, strict=True):
            if axis < 0 or matrix.ndim != 2 or matrix.shape[1] != in_shape[axis]:
                raise ShapeError(f"a matrix {tuple(matrix.shape)} does not fit axis {axis} of {tuple(in_shape)}")
        super().__init__(in_shape, (*in_shape[: self.axes.start], *(len(matrix) for matrix in self.matrices)))

    @property
    def leading(self) -> int:
        """How many values the axes that are left alone hold: A is the product of the matrices, so many times over."""
        return prod(self.in_shape[: self.axes.start])

    def _forward(self, x: Tensor) -> Tensor:
        for axis in self._order:
            x = self._matrices[axis].along(x, axis + 1)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._add_adjoint(None, y)

    def _add_adjoint(self, x: Tensor | None, y: Tensor) -> Tensor:
        """x + Aᵀ y, the sum taken while the last product is written; Aᵀ y where x is None."""
        *others, last = reversed(self._order)
        for axis in others:
            y = self._transposes[axis].along(y, axis + 1)
        return self._transposes[last].along(y, last + 1, onto=x)

    @cached_property
    def _order(self) -> list[int]:
        """The axes, the one first that shrinks the data most: what follows has less to do."""

        def growth(axis: int) -> float:
            return self.out_shape[axis] / self.in_shape[axis] * (ACROSS if axis == self.axes[-1] else 1)

        return sorted(self.axes, key=growth)

    @cached_property
    def _matrices(self) -> dict[int, Banded]:
        return {axis: Banded(matrix) for axis, matrix in zip(self.axes, self.matrices, strict=True)}

    @cached_property
    def _transposes(self) -> dict[int, Banded]:
        return {axis: Banded(matrix.T) for axis, matrix in zip(self.axes, self.matrices, strict=True)}

    def _to_scipy(self) -> scipy.sparse.csr_array:
        factors = [scipy.sparse.eye_array(self.leading)]
        factors += [scipy.sparse.csr_array(matrix.numpy()) for matrix in self.matrices]
        return scipy.sparse.csr_array(reduce(scipy.sparse.kron, factors))
