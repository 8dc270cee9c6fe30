"""The rank of a sparse map whose singular values fall below what A Aᵀ resolves, by independent rows and their least σ.

Elimination modulo primes finds the rank r over the rationals, and r rows that are independent. Scaled to norm 1 by
powers of two, which changes neither, these rows B have full row rank, and σ_min(B) is the largest singular value of
B⁺, found by power iteration. B⁺ b and (B⁺)ᵀ x are solutions of the augmented system [[a I, Bᵀ], [B, 0]], whose sparse
LU factorisation with partial pivoting resolves ε‖B‖, where that of B Bᵀ resolves √ε‖B‖ (Björck, Numerical Methods for
Least Squares Problems, section 2.5). A σ_min(B) clear of rounding shows that the other rows, which these span, add
nothing that float64 could mistake for a smaller rank.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import LinearMap
from .certificate import Certificate
from .modular_elimination import exact_rank, independent, most_entries, rational_factors

ENTRIES, FACTORED = 100_000_000, 3_000_000
"""Entries of a map's matrix up to which it is formed, and of its independent rows up to which these are factorised."""

BALANCE = 1e-3
"""a over the norm of B: between the smallest and the largest σ, where the augmented system is conditioned best."""

ITERATIONS, SETTLED = 60, 0.01
"""Largest number of steps of the power iteration, and the relative change of σ at which it ends."""

POWERS = 20
"""Steps of the power method, for a norm that rounding is compared with."""

SAFE = 0.5
"""Share of what the power iteration ends at that is stated as a lower bound."""


def settled(operator: LinearMap) -> Certificate:
    """The certificate of a sparse map by independent rows.

    Args:
        operator: The map A, not 0.

    Returns:
        An exact certificate; its ``sigma_above`` is a bound for A itself.

    Raises:
        TooLargeError: Elimination or the factorisation would take too much.
        UnsupportedLayerError: The smallest σ of the rows is not clear of rounding, or the factorisation fails.
    """
    entries = most_entries(operator)
    if entries > ENTRIES:
        raise TooLargeError(f"the matrix of {operator} has up to {entries:.1e} entries, above {ENTRIES:.0e}")
    factors = rational_factors(operator)
    rank = exact_rank(*factors)
    matrix = operator.to_scipy()
    rounding = max(matrix.shape) * float(np.finfo(np.float64).eps)
    reached = 0.0
    for columns in (True, False) if matrix.shape[0] > matrix.shape[1] else (False, True):
        lines = independent(*factors, prime=rank.primes[0], columns=columns)
        rows = scipy.sparse.csr_array((matrix.T if columns else matrix).tocsr()[lines])
        if rows.nnz > FACTORED:
            raise TooLargeError(f"{len(lines)} rows of {operator} have {rows.nnz} entries, above {FACTORED:.0e}")
        norms = np.sqrt(np.asarray(rows.power(2).sum(1)).ravel())
        if norms.min() <= rounding * norms.max():
            raise UnsupportedLayerError(f"{operator} has rows of rounding errors, which scaling would make count")
        scale = np.exp2(-np.round(np.log2(norms)))
        scaled = scipy.sparse.csr_array(scipy.sparse.diags_array(scale) @ rows)
        norm = _largest(scaled)
        smallest = _smallest(scaled, norm)
        if smallest > rounding * norm:
            break
        reached = max(reached, smallest)
    else:
        raise UnsupportedLayerError(
            f"{rank.rank} independent rows of {operator} have σ down to {reached:.1e}, not clear of rounding"
        )
    primes = f"{len(rank.primes)} primes" if len(rank.primes) > 1 else "a prime"
    largest = operator.norm()
    return Certificate(
        rank=rank.rank,
        kind="exact",
        method=f"elimination modulo {primes}, and LU of as many independent {'columns' if columns else 'rows'}, scaled",
        tolerance=rounding * largest,
        sigma_max=largest,
        sigma_above=smallest / float(scale.max()),
        sigma_below=None,
        exact_rank=rank.rank,
        sigma_above_is="≥",
    )


def _largest(rows: scipy.sparse.csr_array) -> float:
    """The norm of rows, by the power method."""
    v = np.random.default_rng(0).standard_normal(rows.shape[1])
    for _ in range(POWERS):
        v = rows.T @ (rows @ (v / np.linalg.norm(v)))
    return float(np.sqrt(np.linalg.norm(v)))


def _smallest(rows: scipy.sparse.csr_array, norm: float) -> float:
    """A lower bound on the smallest singular value of rows ``(r, n)``, r ≤ n, as far as a power iteration shows it."""
    r, n = rows.shape
    a = BALANCE * norm
    augmented = scipy.sparse.block_array([[a * scipy.sparse.eye_array(n), rows.T], [rows, None]], format="csc")
    try:
        solve = scipy.sparse.linalg.splu(augmented).solve
    except (RuntimeError, MemoryError) as error:
        raise UnsupportedLayerError(f"the augmented system of {r} × {n} rows cannot be factorised: {error}") from error
    b = np.random.default_rng(0).standard_normal(r)
    sigma = np.inf
    for _ in range(ITERATIONS):
        x = solve(np.concatenate([np.zeros(n), b / np.linalg.norm(b)]))[:n]  # B⁺ b
        length = float(np.linalg.norm(x))
        if not (np.isfinite(length) and length > 0):  # a singular system, as far as float64 can tell
            return 0.0
        before, sigma = sigma, 1 / length
        if abs(before - sigma) <= SETTLED * sigma:
            break
        b = solve(np.concatenate([x, np.zeros(r)]))[n:]  # (B⁺)ᵀ x
    return SAFE * sigma
