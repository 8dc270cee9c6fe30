"""Slow and simple second implementations, in extended precision, that everything is compared with."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import nn

from blindspace.maps import LinearMap, from_module
from blindspace.solvers import Certificate
from cases import BIG_CASES, CASES, Case

NAMED = {case.id: case for case in [*CASES, *BIG_CASES]}
"""All cases by name."""

Array = NDArray[np.float64]
LongArray = NDArray[np.longdouble]

STEPS = 3
"""Number of refinement steps of the reference projection."""


def matrix_of(module: nn.Module, in_shape: tuple[int, ...]) -> Array:
    """The matrix ``(m, n)`` of an affine module, with columns module(eᵢ) − module(0), in float64, by torch alone."""
    module = deepcopy(module).double()
    size = int(np.prod(in_shape))
    units = torch.eye(size, dtype=torch.float64).reshape(size, *in_shape)
    with torch.no_grad():
        at_zero = module(torch.zeros(1, *in_shape, dtype=torch.float64))
        images = torch.cat([module(chunk) - at_zero for chunk in torch.split(units, 256)])
    return np.ascontiguousarray(images.reshape(size, -1).numpy().T)


class Reference:
    """The projection onto the nullspace of a matrix, far more accurate than float64.

    Known as iterative refinement in extended precision (Björck 1967, for least squares). Every correction is Aᵀ z,
    hence in the row space whatever the errors of the SVD, and follows from a residual A p in long double. The error
    falls by the factor cond(A)·ε per step.

    Args:
        matrix: the matrix A, ``(m, n)``; its rank counts the singular values above max(m, n)·ε·σ_max.
    """

    def __init__(self, matrix: Array) -> None:
        left, sigma, _ = scipy.linalg.svd(matrix, full_matrices=False)
        self.rank = numerical_rank(sigma, matrix.shape)
        self.dim = matrix.shape[1] - self.rank
        self.norm = float(sigma[0]) if len(sigma) else 0.0
        self.sigma = sigma
        self.left = left[:, : self.rank]
        self.matrix: LongArray = matrix.astype(np.longdouble)

    def residual(self, vectors: LongArray | Array) -> LongArray:
        """The products A v of rows ``(B, n)`` in long double."""
        return vectors.astype(np.longdouble) @ self.matrix.T

    def project(self, vectors: Array) -> LongArray:
        """The projections P v of rows ``(B, n)``."""
        p: LongArray = vectors.astype(np.longdouble)
        for _ in range(STEPS + 1):
            rest = self.residual(p).astype(np.float64)
            z = ((rest @ self.left) / self.sigma[: self.rank] ** 2) @ self.left.T
            p = p - z.astype(np.longdouble) @ self.matrix
        return p


def reference_projection(matrix: Array, vectors: Array) -> LongArray:
    """The projections P v of rows ``(B, n)`` onto the nullspace of the matrix."""
    return Reference(matrix).project(vectors)


def null_projector(matrix: Array) -> Array:
    """The projector onto the nullspace of a matrix, ``(n, n)``."""
    return reference_projection(matrix, np.eye(matrix.shape[1])).astype(np.float64)


def null_diagonal(matrix: Array) -> Array:
    """The diagonal of that projector ``(n,)``: 1 − Σ v², over the right singular vectors of the row space."""
    _, sigma, right = scipy.linalg.svd(matrix, full_matrices=False)
    found: Array = 1 - np.square(right[: numerical_rank(sigma, matrix.shape)]).sum(0)
    return found


def numerical_rank(sigma: Array, shape: tuple[int, ...]) -> int:
    """The number of singular values above max(m, n)·ε·σ_max."""
    tolerance = max(shape) * np.finfo(np.float64).eps * (sigma[0] if len(sigma) else 0)
    return int((sigma > tolerance).sum())


@cache
def reference(case: Case) -> Reference:
    """The reference of one case, computed once."""
    return Reference(matrix_of(*case.make()))


def map_of(case: Case | str) -> LinearMap:
    """The map of a case, given by itself or by name."""
    module, shape = (NAMED[case] if isinstance(case, str) else case).make()
    return from_module(module, shape)


def true_sigma(case: Case | str) -> Array:
    """All n singular values in descending order, zeros included, by LAPACK's SVD of the whole matrix."""
    found = reference(NAMED[case] if isinstance(case, str) else case)
    sigma = np.zeros(found.matrix.shape[1])
    sigma[: len(found.sigma)] = found.sigma
    return sigma


def gaps(sigma: Array, most: int = 6) -> list[float]:
    """Bounds well between two singular values and above rounding, so that the number below each is certain."""
    found = [(a * max(b, 1e-4 * a)) ** 0.5 for a, b in pairwise(sigma) if a > 1.01 * b and a > 1e-3 * sigma[0]]
    return [float(s) for s in found[:: max(len(found) // most, 1)]]


def check_figures(certificate: Certificate, oracle: Reference) -> None:
    """Check that a certificate's singular values are, or bound, those of the map."""
    assert certificate.sigma_max == pytest.approx(oracle.norm, rel=1e-5)
    if oracle.rank and certificate.sigma_above is not None:
        smallest = oracle.sigma[oracle.rank - 1]
        if certificate.sigma_above_is == "=":
            assert certificate.sigma_above == pytest.approx(smallest, rel=1e-5)
        elif certificate.sigma_above_is == "≥":
            assert certificate.sigma_above <= smallest * (1 + 1e-9)
        else:
            assert certificate.sigma_above >= smallest * (1 - 1e-9)
