"""Slow and obvious second implementations that everything is compared with."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import nn

from cases import Case

Array = NDArray[np.float64]
LongArray = NDArray[np.longdouble]

STEPS = 3
"""Corrections of the reference projection."""


def matrix_of(module: nn.Module, in_shape: tuple[int, ...]) -> Array:
    """The matrix of an affine module: columns module(eᵢ) − module(0), in float64, by torch alone; ``(m, n)``."""
    module = deepcopy(module).double()
    size = int(np.prod(in_shape))
    units = torch.eye(size, dtype=torch.float64).reshape(size, *in_shape)
    with torch.no_grad():
        at_zero = module(torch.zeros(1, *in_shape, dtype=torch.float64))
        images = torch.cat([module(chunk) - at_zero for chunk in torch.split(units, 256)])
    return np.ascontiguousarray(images.reshape(size, -1).numpy().T)


class Reference:
    """The projection onto a matrix's nullspace, far closer than float64 alone comes.

    Every correction is Aᵀ z, hence in the row space whatever the errors of the SVD, and is worked out from a residual
    A p in long double. What is left falls by cond(A)·ε a step.

    Args:
        matrix: A, ``(m, n)``; rank by the usual tolerance max(m, n)·ε·σ_max.
    """

    def __init__(self, matrix: Array) -> None:
        left, sigma, _ = scipy.linalg.svd(matrix, full_matrices=False)
        tolerance = max(matrix.shape) * np.finfo(np.float64).eps * (sigma[0] if len(sigma) else 0)
        self.rank = int((sigma > tolerance).sum())
        self.dim = matrix.shape[1] - self.rank
        self.norm = float(sigma[0]) if len(sigma) else 0.0
        self.sigma = sigma
        self.left = left[:, : self.rank]
        self.matrix: LongArray = matrix.astype(np.longdouble)

    def residual(self, vectors: LongArray | Array) -> LongArray:
        """A v of rows ``(B, n)`` in long double."""
        return vectors.astype(np.longdouble) @ self.matrix.T

    def project(self, vectors: Array) -> LongArray:
        """P v of rows ``(B, n)``."""
        p: LongArray = vectors.astype(np.longdouble)
        for _ in range(STEPS + 1):
            rest = self.residual(p).astype(np.float64)
            z = ((rest @ self.left) / self.sigma[: self.rank] ** 2) @ self.left.T
            p = p - z.astype(np.longdouble) @ self.matrix
        return p


def reference_projection(matrix: Array, vectors: Array) -> LongArray:
    """P v of rows ``(B, n)``, P the projector onto the nullspace of the matrix."""
    return Reference(matrix).project(vectors)


def null_projector(matrix: Array) -> Array:
    """The projector onto the nullspace of a matrix as a matrix, ``(n, n)``."""
    return reference_projection(matrix, np.eye(matrix.shape[1])).astype(np.float64)


@cache
def reference(case: Case) -> Reference:
    """The oracle of one case, worked out once."""
    return Reference(matrix_of(*case.make()))
