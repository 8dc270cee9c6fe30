"""Proof that a large dense matrix has full rank, by LU of as many of its columns as it has rows.

Columns S of A, as many as A has rows, give A Aᵀ ≽ S Sᵀ, so σ_min(A) ≥ σ_min(S). Gaussian elimination with partial
pivoting computes S + E = P L U with |E| ≤ γ |L| |U|, whatever the order of its sums (Higham, Accuracy and Stability of
Numerical Algorithms, theorem 9.3): a bound on ‖E‖ that is computed for this matrix. σ_min(P L U) is found by the
Lanczos method on its inverse, from a random vector, in at least ``LEAST_STEPS`` steps. That the σ at which it ends is
more than 1/SAFE times too large has a probability of at most 1.65 √m exp(−√(1 − SAFE²) (2k − 1)) after k steps,
whatever the spectrum (Kuczyński & Woźniakowski 1992, theorem 3.2): 10⁻⁹ for 4096 rows. For a square A all this takes
half the operations of a Gram matrix and its Cholesky factor, and less than a third where A has twice as many columns
as rows; and it does not square the condition.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ...maps.lanczos import extreme_ritz
from ..dense_algebra.products import power_of_two
from .certificate import MARGIN, Certificate

LEAST = 2000  # Rows from which this is worth the looser bound on σ
STEPS = 200  # Steps of the Lanczos method, at most
LEAST_STEPS = 15  # Its least number of steps where a lower bound follows from it
SETTLED = 0.003  # Residual at which it ends, as a share of the eigenvalue, whose error is about the square

SAFE = 0.5
"""Share of the σ that the Lanczos method ends at that is stated as a lower bound."""

METHOD = "LU of a square part"


def certificate(matrix: Tensor) -> Certificate | None:
    """The certificate of a matrix of full rank, whose ``sigma_above`` is a lower bound.

    Args:
        matrix: The matrix A, float64 ``(m, n)``.

    Returns:
        None if the smaller side is below ``LEAST``, or if S is not clear of all rounding.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    rank = len(wide)
    if rank < LEAST:
        return None
    peaks = wide.abs().amax(0)
    scale = power_of_two(float(peaks.max()))
    square = wide
    if rank < wide.shape[1]:
        square = wide.index_select(1, peaks.argsort(descending=True, stable=True)[:rank].sort().values)
    smallest = scale * _smallest(square / scale)
    if not smallest:
        return None
    single = (wide / scale).float()
    largest = scale * sqrt(_largest(lambda v: single @ (v @ single), single))  # to three digits
    tolerance = max(matrix.shape) * float(np.finfo(np.float64).eps) * largest
    if smallest <= MARGIN * tolerance:
        return None
    return Certificate(rank, "exact", METHOD, tolerance, largest, smallest, None, sigma_above_is="≥")


def _smallest(square: Tensor) -> float:
    """A lower bound on the smallest singular value of a square matrix; 0 if none is found."""
    factors, pivots, failed = torch.linalg.lu_factor_ex(square)
    if int(failed) or not bool(factors.isfinite().all()):
        return 0.0

    def solve(b: Tensor, adjoint: bool) -> Tensor:
        solved: Tensor = torch.linalg.lu_solve(factors, pivots, b[:, None], adjoint=adjoint)
        return solved[:, 0]

    sigma = sqrt(1 / _largest(lambda v: solve(solve(v, True), False), square, LEAST_STEPS))
    return max(SAFE * sigma - _rounding(factors), 0.0)


def _rounding(factors: Tensor) -> float:
    """A bound on ‖E‖ from L and U, held in one square matrix: γ √(‖|L| |U|‖₁ ‖|L| |U|‖∞)."""
    size, unit = len(factors), torch.finfo(factors.dtype).eps / 2
    magnitudes = factors.abs()
    upper, lower = magnitudes.triu(), magnitudes.tril_(-1)
    ones = factors.new_ones(size)
    by_rows, by_columns = upper @ ones, lower.T @ ones + ones
    rows, columns = lower @ by_rows + by_rows, upper.T @ by_columns
    return size * unit / (1 - size * unit) * float((rows.max() * columns.max()).sqrt())


def _largest(product: Callable[[Tensor], Tensor], like: Tensor, least: int = 1) -> float:
    """The largest eigenvalue of a positive definite matrix with as many rows as a given one has, by its products."""
    start = torch.from_numpy(np.random.default_rng(0).standard_normal(len(like))).to(like)
    return extreme_ritz(product, start, STEPS, lambda value, rest: rest <= SETTLED * value, least=least)[0]
