"""One small matrix for each axis, A = M₁ ⊗ M₂ ⊗ …: pooling, and later resizing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .linear_map import LinearMap, Shape


class Separable(LinearMap):
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

    def _forward(self, x: Tensor) -> Tensor:
        for axis, matrix in zip(self.axes, self.matrices, strict=True):
            x = _along(matrix.to(x.device, x.dtype), x, axis + 1)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        for axis, matrix in zip(self.axes, self.matrices, strict=True):
            y = _along(matrix.T.to(y.device, y.dtype), y, axis + 1)
        return y

    def _to_scipy(self) -> scipy.sparse.csr_array:
        factors = [scipy.sparse.eye_array(int(np.prod(self.in_shape[: self.axes.start])))]
        factors += [scipy.sparse.csr_array(matrix.numpy()) for matrix in self.matrices]
        return scipy.sparse.csr_array(reduce(scipy.sparse.kron, factors))


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """``matrix`` applied along one axis of x."""
    return (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
