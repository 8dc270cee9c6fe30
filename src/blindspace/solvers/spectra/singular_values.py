"""All singular values of a map, with certain bounds, if its structure or its size allows computing them.

A set of patches has the singular values of one matrix, once per patch; a Kronecker product has the products of those of
its factors; scalings, moves and groups of channels have their own. A map without structure is decomposed as one matrix
if it is small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import scipy.linalg
import scipy.sparse

from ...maps import Composed, Convolution, Dense, Kronecker, LinearMap
from ...maps.linear_map import Adjoint
from ...maps.properties import column_norms, reads_disjoint_patches
from ...maps.simplify import isometry_free
from ..dense_algebra.blocks import groups, patches
from ..dense_algebra.products import gram, power_of_two
from ..dense_algebra.svd import SVD_LIMIT

WORK_LIMIT = 2e11
"""Operations up to which a matrix p × q, p ≤ q, is decomposed, counted as p²(q + 3p): some 20 seconds on one core."""

MATRIX_LIMIT = 1 << 30  # Bytes that making the matrix of a map may take
ROUNDING = 8.0  # Bound on the errors of the eigenvalues of a Gram matrix, in units of ε·p·‖·‖

EPS = float(np.finfo(np.float64).eps)

Array = np.ndarray


@dataclass(frozen=True)
class SingularValues:
    """The singular values of a map, as many as it has inputs, zeros included.

    Attributes:
        sigma: Distinct values, descending, float64 ``(k,)``.
        low: Lower bound on each value, rounding included, float64 ``(k,)``.
        high: Upper bound on each value, float64 ``(k,)``.
        counts: Multiplicity of each value, int64 ``(k,)``.
        method: How they were computed, in words.
    """

    sigma: Array
    low: Array
    high: Array
    counts: Array
    method: str

    @property
    def norm(self) -> float:
        """The largest singular value."""
        return float(self.sigma[0])

    @property
    def tolerance(self) -> float:
        """The largest value that is not distinguishable from 0, or 0."""
        return float(self.high[self.low <= 0].max(initial=0))

    def up_to(self, bound: float) -> tuple[int, int, int]:
        """The number of values up to ``bound``: a lower bound, the number as computed, an upper bound."""
        low, count, high = (int(self.counts[side <= bound].sum()) for side in (self.high, self.sigma, self.low))
        return low, count, high


def singular_values(operator: LinearMap) -> SingularValues | None:
    """All singular values of a map.

    Args:
        operator: The linear map.

    Returns:
        The singular values, kept as long as the map is; None if neither its structure nor its size allows them.
    """
    if operator not in _kept:
        _kept[operator] = _with_zeros(operator, _structural(operator))
    return _kept[operator]


_kept: WeakKeyDictionary[LinearMap, SingularValues | None] = WeakKeyDictionary()


def _with_zeros(operator: LinearMap, found: SingularValues | None) -> SingularValues | None:
    """The values completed by zeros to as many as the map has inputs, descending."""
    if found is None:
        return None
    zeros = operator.in_dim - int(found.counts.sum())
    if zeros:
        zero = np.zeros(1)
        rest = SingularValues(zero, zero, zero, np.array([zeros]), "")
        found = _merged([(found, 1), (rest, 1)], found.method)
    order = np.argsort(-found.sigma, kind="stable")
    return replace(found, **{name: getattr(found, name)[order] for name in ("sigma", "low", "high", "counts")})


def matrix_bytes(operator: LinearMap) -> int:
    """Upper bound on the bytes that it takes to make the matrix of a map.

    A convolution's entries pass through lists of coordinates; products of sparse matrices may fill in.
    """
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if isinstance(conv, Convolution):
        return 200 * conv.out_dim * prod(conv.weight.shape[1:])
    return 16 * operator.in_dim * operator.out_dim


def _structural(operator: LinearMap) -> SingularValues | None:
    """The singular values, without zeros that are due to too few outputs or to inputs that are not read."""
    norms = column_norms(operator)
    if norms is not None:
        return _known(norms.numpy(), "AᵀA is diagonal")
    match operator:
        case Adjoint():
            return _structural(operator.of)
        case Dense():
            tokens = prod(operator.leading)
            return _merged_if_all([(_of_matrix(operator.matrix.numpy()), tokens)], "one matrix for every token")
        case Kronecker():
            return _products(operator)
        case Convolution() if reads_disjoint_patches(operator):
            parts = (
                (_of_matrix(matrix.numpy()), len(positions))
                for positions, matrices in patches(operator)
                for matrix in matrices
            )
            return _merged_if_all(parts, "one matrix for every patch")
        case Convolution() if operator.groups > 1:
            work = _work(operator.out_dim // operator.groups, operator.in_dim // operator.groups)
            if operator.groups * work > WORK_LIMIT:
                return None
            each = ((_structural(conv), len(numbers)) for conv, numbers in groups(operator))
            return _merged_if_all(each, "group by group")
        case Composed():
            free = isometry_free(operator)
            found = (_whole if isinstance(free.operator, Composed) else _structural)(free.operator)
            return None if found is None else _scaled(found, free.gain)
    return _whole(operator)


def _whole(operator: LinearMap) -> SingularValues | None:
    """The singular values of the whole matrix; None if it is too large."""
    if matrix_bytes(operator) > MATRIX_LIMIT or _work(operator.out_dim, operator.in_dim) > WORK_LIMIT:
        return None
    return _of_matrix(operator.to_scipy())


def _work(m: int, n: int) -> float:
    return float(min(m, n)) ** 2 * (max(m, n) + 3 * min(m, n))


def _of_matrix(matrix: Array | scipy.sparse.csr_array) -> SingularValues | None:
    """The singular values of one matrix; None if it is too large."""
    p, q = sorted(matrix.shape)
    if _work(p, q) > WORK_LIMIT:
        return None
    largest = float(abs(matrix).max())
    if largest == 0:
        return _known(np.empty(0), "all weights are 0")
    scale = power_of_two(largest)
    a = scipy.sparse.csr_array(matrix) / scale
    found = _of_gram(a) if p > SVD_LIMIT else None
    if found is None:
        sigma = scipy.linalg.svdvals(a.toarray(), check_finite=False)
        off = q * EPS * sigma[0]
        found = SingularValues(sigma, sigma - off, sigma + off, _ones(sigma), "SVD")
    return _scaled(found, scale)


def _of_gram(a: scipy.sparse.csr_array) -> SingularValues | None:
    """By the smaller of A Aᵀ and AᵀA, several times cheaper; None if the smallest are not distinguishable from 0."""
    product = gram(a if a.shape[0] <= a.shape[1] else scipy.sparse.csr_array(a.T))
    squares = scipy.linalg.eigvalsh(product, overwrite_a=True, check_finite=False)
    off = ROUNDING * len(product) * EPS * squares[-1]
    if squares[0] <= 2 * off:
        return None
    sigma, low, high = (np.sqrt(squares + by) for by in (0, -off, off))
    return SingularValues(sigma, low, high, _ones(sigma), "eigenvalues of the Gram matrix")


def _ones(values: Array) -> Array:
    return np.ones(len(values), dtype=np.int64)


def _known(sigma: Array, method: str) -> SingularValues:
    """SingularValues known without rounding, except for that of a square root; zeros are left out."""
    values, counts = np.unique(sigma[sigma > 0], return_counts=True)
    return SingularValues(values, values, values, counts, method)


def _scaled(values: SingularValues, factor: float) -> SingularValues:
    low = np.maximum(values.low * factor, 0)
    return replace(values, sigma=values.sigma * factor, low=low, high=values.high * factor)


def _merged(parts: Iterable[tuple[SingularValues, int]], method: str) -> SingularValues:
    """The values of all parts, each repeated a number of times."""
    parts = list(parts)
    sigma, low, high = (
        np.concatenate([getattr(values, name) for values, _ in parts]) for name in ("sigma", "low", "high")
    )
    return SingularValues(sigma, low, high, np.concatenate([values.counts * times for values, times in parts]), method)


def _merged_if_all(parts: Iterable[tuple[SingularValues | None, int]], method: str) -> SingularValues | None:
    """The values of all parts; None as soon as those of one part are not known."""
    known = []
    for values, times in parts:
        if values is None:
            return None
        known.append((values, times))
    most = max((values for values, _ in known), key=lambda values: len(values.sigma))
    return _merged(known, f"{method}: {most.method}")


def _products(operator: Kronecker) -> SingularValues | None:
    """The singular values of A = M₁ ⊗ M₂ ⊗ … are the products of those of the Mᵢ."""
    axes = [_of_matrix(matrix.numpy()) for matrix in operator.matrices]
    known = [axis for axis in axes if axis is not None]
    if len(known) < len(axes):
        return None
    sigma, low, high = (
        reduce(np.multiply.outer, [getattr(axis, name) for axis in known]).ravel() for name in ("sigma", "low", "high")
    )
    return SingularValues(sigma, low, high, operator.leading * _ones(sigma), f"one matrix per axis: {known[0].method}")
