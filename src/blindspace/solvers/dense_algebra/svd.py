"""The singular value decomposition of a whole matrix, as far as its nullspace and row space need it.

Small matrices are decomposed by LAPACK's SVD. Larger ones go through the smaller of A Aᵀ and Aᵀ A, several times
cheaper (Golub & Van Loan, Matrix Computations, section 8.6). What a Gram matrix cannot resolve (σ below 3e-5 σ_max: its
eigenvalues carry errors of ε σ_max²) is computed again on A. So there are three kinds of singular values: strong, weak
(counted in the rank, but too small for a Gram matrix) and null.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import scipy.linalg
import scipy.linalg.blas
import torch

from ...maps.lanczos import extreme_ritz
from ..rank.certificate import Certificate, judge
from .products import gram

SVD_LIMIT = 640  # Size of the smaller side up to which a matrix is decomposed by LAPACK's SVD
RESOLVED = 1e-9  # Share of the largest eigenvalue of a Gram matrix below which eigenvalues are not trusted
STEPS, SETTLED = 1000, 1e-6  # Steps for an end of the spectrum, and the residual at which they end, as a share of it
PROOF = 6.0  # Shift of the Gram matrix, in units of its rounding error, before Cholesky is to prove its full rank
Array = np.ndarray
Apply = Callable[[Array], Array]


@dataclass(frozen=True)
class Spectrum:
    """What is needed of the decomposition of A, ``(m, n)``.

    Attributes:
        certificate: What is known of the rank of A.
        strong_pinv: Applies A⁺ of the strong part to columns, ``(m, k)`` to ``(n, k)``.
        strong_rows: Returns columns that span the strong part of the row space, ``(n, strong)``.
        weak: Orthonormal right singular vectors of the weak part, ``(n, weak)``.
        null: Orthonormal right singular vectors of the null part, ``(n, dim)``; None if they were not computed.
    """

    certificate: Certificate
    strong_pinv: Apply
    strong_rows: Callable[[], Array]
    weak: Array
    null: Array | None


def spectrum(a: Array, svd_limit: int = SVD_LIMIT) -> Spectrum:
    """Rank, pseudo-inverse and the parts of the row space.

    Args:
        a: The matrix A, ``(m, n)``, float64, with no row or column of zeros.
        svd_limit: Size of the smaller side up to which LAPACK's SVD is used.
    """
    if min(a.shape) <= svd_limit:
        return _by_svd(a)
    product = gram(a if a.shape[0] <= a.shape[1] else a.T)
    return _by_cholesky(a, product) or _by_eigenvectors(a, product)


def _by_svd(a: Array) -> Spectrum:
    u, sigma, vt = scipy.linalg.svd(a, full_matrices=False, check_finite=False)
    certificate = judge(sigma, a.shape, "SVD")
    strong = int((sigma**2 > RESOLVED * sigma[0] ** 2).sum())
    scaled = u[:, :strong] / sigma[:strong] ** 2
    null = vt[certificate.rank :].T if a.shape[0] >= a.shape[1] else None
    return Spectrum(
        certificate,
        lambda y: a.T @ (scaled @ (u[:, :strong].T @ y)),
        lambda: a.T @ (u[:, :strong] / sigma[:strong]),
        vt[strong : certificate.rank].T,
        null,
    )


def _by_cholesky(a: Array, gram: Array) -> Spectrum | None:
    """Full rank, if Cholesky of the Gram matrix minus PROOF·p·ε·‖gram‖, more than all rounding, succeeds; else None."""
    largest = _largest(len(gram), lambda v: scipy.linalg.blas.dsymv(1.0, gram.T, v, lower=1))
    shift = PROOF * len(gram) * float(np.finfo(np.float64).eps) * largest
    diagonal = gram.ravel()[:: len(gram) + 1]
    try:
        diagonal -= shift
        shifted = scipy.linalg.cho_factor(gram, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    finally:
        diagonal += shift
    smallest = shift + 1 / _largest(len(gram), _solver(shifted))
    sigma = np.sqrt(np.array([largest, smallest]))
    found = judge(sigma, a.shape, "Cholesky of the shifted Gram matrix")
    certificate = replace(found, rank=len(gram), sigma_below=None)
    wide = a.shape[0] < a.shape[1]

    @cache
    def solver() -> Apply:
        """The inverse of the Gram matrix; without a nullspace it is never used, and the shifted factor will do."""
        return _solver(scipy.linalg.cho_factor(gram, lower=True, check_finite=False) if wide else shifted)

    return Spectrum(
        certificate,
        (lambda y: a.T @ solver()(y)) if wide else (lambda y: solver()(a.T @ y)),
        lambda: a.T / np.linalg.norm(a, axis=1) if wide else np.eye(a.shape[1]),
        np.empty((a.shape[1], 0)),
        None if wide else np.empty((a.shape[1], 0)),
    )


def _largest(size: int, product: Apply) -> float:
    """The largest eigenvalue of a positive definite matrix, by its products with vectors, to about ten digits."""
    start = torch.from_numpy(np.random.default_rng(0).standard_normal(size))
    # The error of an eigenvalue is the square of its vector's.
    return extreme_ritz(
        lambda v: torch.from_numpy(product(v.numpy())), start, STEPS, lambda value, rest: rest <= SETTLED * value
    )[0]


def _solver(factor: tuple[Array, bool]) -> Apply:
    """Applies the inverse of a factored matrix."""
    return lambda y: np.asarray(scipy.linalg.cho_solve(factor, y, check_finite=False))


def _by_eigenvectors(a: Array, gram: Array) -> Spectrum:
    wide = a.shape[0] <= a.shape[1]
    b = a if wide else a.T  # p × q with p ≤ q; its left singular vectors are the Gram matrix's eigenvectors
    values, vectors = scipy.linalg.eigh(gram, overwrite_a=True, check_finite=False)
    values, vectors = values[::-1], np.ascontiguousarray(vectors[:, ::-1])
    count = int((values > RESOLVED * values[0]).sum())
    strong, weak, values = vectors[:, :count], vectors[:, count:], values[:count]
    image = b.T @ strong
    for _ in range(2):
        # The weak vectors still hold traces of the strong ones, measured here on A itself and removed.
        weak = weak - strong @ ((image.T @ (b.T @ weak)) / values[:, None])
        weak, _ = np.linalg.qr(weak)
    turn, small, right = scipy.linalg.svd(weak.T @ b, full_matrices=False, check_finite=False)
    weak = weak @ turn
    certificate = judge(np.concatenate([np.sqrt(values), small]), a.shape, "Gram eigenvectors, the weakest by SVD")
    counted = certificate.rank - count
    scaled = strong / values
    if wide:
        return Spectrum(
            certificate,
            lambda y: a.T @ (scaled @ (strong.T @ y)),
            lambda: a.T @ (strong / np.sqrt(values)),
            right[:counted].T,
            None,
        )
    return Spectrum(
        certificate,
        lambda y: scaled @ (strong.T @ (a.T @ y)),
        lambda: a.T @ (a @ scaled),
        weak[:, :counted],
        weak[:, counted:],
    )
