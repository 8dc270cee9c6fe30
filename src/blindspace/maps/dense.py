"""A matrix applied along the last axis: fully connected layers, over any leading shape (tokens, time steps)."""

from __future__ import annotations

from math import prod

import scipy.sparse
from torch import Tensor

from ..errors import ShapeError
from .linear_map import Array, LinearMap, Shape, as_parameter, as_shape


class Dense(LinearMap):
    """The product y = W x along the last axis.

    Args:
        matrix: The matrix W, ``(out_features, in_features)``; kept in float64.
        leading: Shape of the axes before the last one, ``()`` for plain vectors.

    Raises:
        ShapeError: The matrix does not have two axes.
    """

    def __init__(self, matrix: Array, leading: Shape = ()) -> None:
        self.matrix = matrix = as_parameter(matrix, "matrix")
        if matrix.ndim != 2:
            raise ShapeError(f"a dense map needs a matrix (out, in), got shape {tuple(matrix.shape)}")
        super().__init__((*as_shape(leading), matrix.shape[1]), (*leading, matrix.shape[0]))
        self.leading = self.in_shape[:-1]

    def _forward(self, x: Tensor) -> Tensor:
        return x @ self._cast("matrix", x).T

    def _adjoint(self, y: Tensor) -> Tensor:
        return y @ self._cast("matrix", y)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        tokens = scipy.sparse.eye_array(prod(self.leading))
        return scipy.sparse.csr_array(scipy.sparse.kron(tokens, scipy.sparse.csr_array(self.matrix.numpy())))
