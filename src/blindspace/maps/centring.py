"""What is left of an array without its mean along some axes: all that normalisations and softmax read of it.

The deviations x − mean of n values have n − 1 degrees of freedom. They are given by coordinates in an orthonormal
basis, the last n − 1 rows of the Householder reflection that takes the vector of ones to a multiple of the first unit
vector (Golub & Van Loan 2013, section 5.1). So A Aᵀ = I, and the nullspace consists of the arrays that are constant
along the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError, require_memory
from .linear_map import LinearMap, Shape

SPARSE_LIMIT = 8 << 30
"""Largest size of a sparse matrix in bytes."""


class Centring(LinearMap):
    """The deviations from the mean along some axes, in orthonormal coordinates: the other axes, then the coordinates.

    Args:
        in_shape: Shape of one input.
        axes: The axes whose mean is subtracted, counted from the first; they must hold at least two values.

    Raises:
        ShapeError: The axes do not exist, or hold fewer than two values.
    """

    def __init__(self, in_shape: Shape, axes: Sequence[int]) -> None:
        self.axes = tuple(sorted({int(axis) % max(len(in_shape), 1) for axis in axes}))
        if not self.axes or not all(-len(in_shape) <= axis < len(in_shape) for axis in axes):
            raise ShapeError(f"an input {tuple(in_shape)} cannot be centred along axes {tuple(axes)}")
        self.kept = tuple(axis for axis in range(len(in_shape)) if axis not in self.axes)
        self.count = prod(in_shape[axis] for axis in self.axes)
        if self.count < 2:
            raise ShapeError(
                f"one value is its own mean: an input {tuple(in_shape)} has no deviation along {self.axes}"
            )
        super().__init__(in_shape, (*(in_shape[axis] for axis in self.kept), self.count - 1))

    def _forward(self, x: Tensor) -> Tensor:
        turned = x.permute(0, *(axis + 1 for axis in (*self.kept, *self.axes)))
        return deviations(turned.reshape(len(x), *self.out_shape[:-1], self.count))

    def _adjoint(self, y: Tensor) -> Tensor:
        root = sqrt(self.count)
        total = y.sum(-1, keepdim=True) / (root + 1)
        x = torch.cat([-total, y - total / root], -1)
        x[..., 0] -= total[..., 0] / root
        order = (*self.kept, *self.axes)
        back = np.argsort(order)
        x = x.reshape(len(y), *(self.in_shape[axis] for axis in order))
        return x.permute(0, *(int(axis) + 1 for axis in back))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        groups = prod(self.out_shape[:-1])
        what = f"the sparse matrix of {self}"
        require_memory(what, 24 * self.out_dim * self.count, SPARSE_LIMIT, "take a smaller input shape")
        rows = deviations(torch.eye(self.count, dtype=torch.float64)).T.numpy()
        matrix = scipy.sparse.csc_array(scipy.sparse.kron(scipy.sparse.eye_array(groups), scipy.sparse.csr_array(rows)))
        return scipy.sparse.csr_array(matrix[:, np.argsort(self.groups().flatten().numpy())])

    def groups(self) -> Tensor:
        """The positions of the values that have a mean in common, int64 ``(groups, values)``."""
        numbered = torch.arange(self.in_dim).reshape(self.in_shape)
        return numbered.permute(*self.kept, *self.axes).reshape(-1, self.count)


def deviations(x: Tensor) -> Tensor:
    """The deviations from the mean along the last axis, ``(…, n)``, in orthonormal coordinates ``(…, n − 1)``."""
    root = sqrt(x.shape[-1])
    shift = (x.sum(-1, keepdim=True) / root + x[..., :1]) / (root + 1)
    return x[..., 1:] - shift
