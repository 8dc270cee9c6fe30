"""Kronecker products A = M₁ ⊗ M₂ ⊗ …, one small matrix per axis: pooling, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from math import prod

import scipy.sparse
from torch import Tensor

from ..errors import ShapeError
from .banded import Banded
from .linear_map import Array, LinearMap, Shape, as_parameter, as_shape

ACROSS = 2.0
"""Time of a product along the last axis, which is strided in memory, over that along another axis, as measured."""


class Kronecker(LinearMap):
    """Matrices applied along the last axes, one per axis; the axes before them are batch axes, such as channels.

    Args:
        matrices: Matrices ``(out_i, in_i)``, one for each of the last axes, in the order of the axes; kept in float64.
        in_shape: Shape of one input.

    Raises:
        ShapeError: A matrix does not fit its axis.
    """

    def __init__(self, matrices: Sequence[Array], in_shape: Shape) -> None:
        in_shape = as_shape(in_shape)
        self.axes = range(len(in_shape) - len(matrices), len(in_shape))
        self.matrices = [as_parameter(matrix, "matrix") for matrix in matrices]
        for axis, matrix in zip(self.axes, self.matrices, strict=True):
            if axis < 0 or matrix.ndim != 2 or matrix.shape[1] != in_shape[axis]:
                raise ShapeError(f"a matrix {tuple(matrix.shape)} does not fit axis {axis} of {in_shape}")
        super().__init__(in_shape, (*in_shape[: self.axes.start], *(len(matrix) for matrix in self.matrices)))

    @property
    def leading(self) -> int:
        """Number of values of the axes without a matrix: A is block-diagonal with this many blocks M₁ ⊗ M₂ ⊗ …."""
        return prod(self.in_shape[: self.axes.start])

    def _forward(self, x: Tensor) -> Tensor:
        for axis in self._order:
            x = self._matrices[axis].along(x, axis + 1)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._add_adjoint(None, y)

    def _add_adjoint(self, x: Tensor | None, y: Tensor) -> Tensor:
        """The sum x + Aᵀ y, fused into the last product; Aᵀ y if x is None."""
        *others, last = reversed(self._order)
        for axis in others:
            y = self._transposes[axis].along(y, axis + 1)
        return self._transposes[last].along(y, last + 1, onto=x)

    @cached_property
    def _order(self) -> list[int]:
        """The axes in the order of their products: the one that shrinks the data most comes first."""

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
