"""All singular values of a map, where its structure or its size lets them be worked out, with certain bounds.

A set of patches has those of one matrix, as often as there are patches; a map of one matrix an axis has the products of
theirs; scaling, moving and groups of channels have their own. What has no structure is taken as one matrix, if it is
small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from math import prod
from weakref import WeakKeyDictionary

import numpy as np
import scipy.linalg
import scipy.sparse
import torch

from ...maps import Composed, Convolution, Dense, Diagonal, Kronecker, LinearMap
from ...maps.linear_map import Adjoint
from ...maps.properties import MOVES
from ...maps.simplify import isometry_free
from ..dense_algebra.svd import SPARSE, SVD_LIMIT
from ..projectors import patchwise

WORK_LIMIT = 2e11
"""Operations up to which a matrix p × q, p ≤ q, is taken whole, counted as p²(q + 3p): some 20 seconds on one core."""

MATRIX_LIMIT = 1 << 30
"""Bytes that making the matrix of a map may take."""

ROUNDING = 8.0
"""By how much more than ε·p·‖·‖ the eigenvalues of a Gram matrix are allowed to be off."""

EPS = float(np.finfo(np.float64).eps)

Array = np.ndarray


@dataclass(frozen=True)
class Values:
    """The singular values of a map, as many as it has inputs, zeros included.

    Attributes:
        sigma: different values, descending, float64 ``(k,)``.
        low: what each is at least, whatever the rounding.
        high: what each is at most.
        counts: how often each stands there, int64 ``(k,)``.
        method: how they were found.
    """

    sigma: Array
    low: Array
    high: Array
    counts: Array
    method: str

    @property
    def norm(self) -> float:
        """The largest."""
        return float(self.sigma[0])

    @property
    def tolerance(self) -> float:
        """The largest value that cannot be told from 0, or 0."""
        return float(self.high[self.low <= 0].max(initial=0))

    def up_to(self, bound: float) -> tuple[int, int, int]:
        """How many are at most ``bound``: at least, as worked out, at most."""
        low, count, high = (int(self.counts[side <= bound].sum()) for side in (self.high, self.sigma, self.low))
        return low, count, high


def singular_values(operator: LinearMap) -> Values | None:
    """All singular values of a map.

    Args:
        operator: any.

    Returns:
        None where it has no structure that tells them and is too large for one matrix. Kept as long as the map is.
    """
    if operator not in _kept:
        _kept[operator] = _with_zeros(operator, _not_zero(operator))
    return _kept[operator]


_kept: WeakKeyDictionary[LinearMap, Values | None] = WeakKeyDictionary()


def _with_zeros(operator: LinearMap, found: Values | None) -> Values | None:
    """As many as the map has inputs, descending."""
    if found is None:
        return None
    zeros = operator.in_dim - int(found.counts.sum())
    if zeros:
        zero = np.zeros(1)
        nothing = Values(zero, zero, zero, np.array([zeros]), "")
        found = _merged([(found, 1), (nothing, 1)], found.method)
    order = np.argsort(-found.sigma, kind="stable")
    return replace(found, **{name: getattr(found, name)[order] for name in ("sigma", "low", "high", "counts")})


def matrix_bytes(operator: LinearMap) -> int:
    """Bytes that it takes to make the matrix of a map, at most.

    A convolution's entries pass through lists of coordinates; products of sparse matrices may fill up.
    """
    conv = operator.of if isinstance(operator, Adjoint) else operator
    if isinstance(conv, Convolution):
        return 200 * conv.out_dim * prod(conv.weight.shape[1:])
    return 16 * operator.in_dim * operator.out_dim


def _not_zero(operator: LinearMap) -> Values | None:
    """The singular values without those that are 0 because there are too few outputs, or because nothing is read."""
    match operator:
        case Adjoint():
            return _not_zero(operator.of)
        case Diagonal():
            return _known(np.broadcast_to(operator.weight.abs().numpy(), operator.in_shape), "AᵀA is diagonal")
        case _ if isinstance(operator, MOVES):
            squares = operator.adjoint(torch.ones(1, *operator.out_shape, dtype=torch.float64))
            return _known(squares.sqrt().numpy(), "AᵀA is diagonal")
        case Dense():
            tokens = prod(operator.leading)
            return _merged_if_all([(_of_matrix(operator.matrix.numpy()), tokens)], "one matrix for every token")
        case Kronecker():
            return _products(operator)
        case Convolution() if patchwise.serves(operator):
            parts = ((_of_matrix(matrix), times) for matrix, times in _patches(operator))
            return _merged_if_all(parts, "one matrix for every patch")
        case Convolution() if operator.groups > 1:
            if (
                operator.groups * _work(operator.out_dim // operator.groups, operator.in_dim // operator.groups)
                > WORK_LIMIT
            ):
                return None
            return _merged_if_all(((_not_zero(conv), times) for conv, times in _groups(operator)), "group by group")
        case Composed():
            free = isometry_free(operator)
            found = (_whole if isinstance(free.operator, Composed) else _not_zero)(free.operator)
            return None if found is None else _scaled(found, free.gain)
    return _whole(operator)


def _whole(operator: LinearMap) -> Values | None:
    """Those of the whole matrix, where it is small."""
    if matrix_bytes(operator) > MATRIX_LIMIT or _work(operator.out_dim, operator.in_dim) > WORK_LIMIT:
        return None
    return _of_matrix(operator.to_scipy())


def _work(m: int, n: int) -> float:
    return float(min(m, n)) ** 2 * (max(m, n) + 3 * min(m, n))


def _of_matrix(matrix: Array | scipy.sparse.csr_array) -> Values | None:
    """Those of one matrix; None where that is too much."""
    p, q = sorted(matrix.shape)
    if _work(p, q) > WORK_LIMIT:
        return None
    largest = float(abs(matrix).max())
    if largest == 0:
        return _known(np.empty(0), "no weight is non-zero")
    scale = 2.0 ** np.floor(np.log2(largest))  # exact, and keeps squares of tiny or huge weights in range
    a = scipy.sparse.csr_array(matrix) / scale
    found = _of_gram(a) if p > SVD_LIMIT else None
    if found is None:
        sigma = scipy.linalg.svdvals(a.toarray(), check_finite=False)
        off = q * EPS * sigma[0]
        found = Values(sigma, sigma - off, sigma + off, _ones(sigma), "SVD")
    return _scaled(found, scale)


def _of_gram(a: scipy.sparse.csr_array) -> Values | None:
    """By the smaller of A Aᵀ and AᵀA, several times cheaper; None where that does not tell the smallest ones from 0."""
    b = a if a.shape[0] <= a.shape[1] else scipy.sparse.csr_array(a.T)
    gram = (b @ b.T).toarray() if b.nnz < SPARSE * a.shape[0] * a.shape[1] else b.toarray() @ b.toarray().T
    squares = scipy.linalg.eigvalsh(gram, overwrite_a=True, check_finite=False)
    off = ROUNDING * len(gram) * EPS * squares[-1]
    if squares[0] <= 2 * off:
        return None
    sigma, low, high = (np.sqrt(squares + by) for by in (0, -off, off))
    return Values(sigma, low, high, _ones(sigma), "eigenvalues of the Gram matrix")


def _ones(values: Array) -> Array:
    return np.ones(len(values), dtype=np.int64)


def _known(sigma: Array, method: str) -> Values:
    """Values known without rounding, but for a square root's; zeros are left out."""
    values, counts = np.unique(sigma[sigma > 0], return_counts=True)
    return Values(values, values, values, counts, method)


def _scaled(values: Values, factor: float) -> Values:
    low = np.maximum(values.low * factor, 0)
    return replace(values, sigma=values.sigma * factor, low=low, high=values.high * factor)


def _merged(parts: Iterable[tuple[Values, int]], method: str) -> Values:
    """Those of all parts, each so many times."""
    parts = list(parts)
    sigma, low, high = (
        np.concatenate([getattr(values, name) for values, _ in parts]) for name in ("sigma", "low", "high")
    )
    return Values(sigma, low, high, np.concatenate([values.counts * times for values, times in parts]), method)


def _merged_if_all(parts: Iterable[tuple[Values | None, int]], method: str) -> Values | None:
    """The same; None as soon as those of one part are not known."""
    known = []
    for values, times in parts:
        if values is None:
            return None
        known.append((values, times))
    most = max((values for values, _ in known), key=lambda values: len(values.sigma))
    return _merged(known, f"{method}: {most.method}")


def _products(operator: Kronecker) -> Values | None:
    """σ of A = M₁ ⊗ M₂ ⊗ … are the products of those of the Mᵢ."""
    axes = [_of_matrix(matrix.numpy()) for matrix in operator.matrices]
    known = [axis for axis in axes if axis is not None]
    if len(known) < len(axes):
        return None
    sigma, low, high = (
        reduce(np.multiply.outer, [getattr(axis, name) for axis in known]).ravel() for name in ("sigma", "low", "high")
    )
    return Values(sigma, low, high, operator.leading * _ones(sigma), f"one matrix an axis: {known[0].method}")


def _groups(conv: Convolution) -> Iterator[tuple[Convolution, int]]:
    """The different groups of a convolution, each with the number of times it stands there."""
    by_group = conv.weight.reshape(conv.groups, -1, *conv.weight.shape[1:])
    shape = (conv.weight.shape[1], *conv.in_shape[1:])
    for weight, times in zip(*torch.unique(by_group, dim=0, return_counts=True), strict=True):
        yield Convolution(weight, shape, conv.stride, conv.padding, conv.dilation, 1, conv.mode), int(times)


def _patches(conv: Convolution) -> Iterator[tuple[Array, int]]:
    """The different matrices of a convolution whose patches do not overlap, each with the number of its patches.

    Patches that the padding cuts short have the columns of the taps outside set to 0.
    """
    by_group = conv.weight.reshape(conv.groups, -1, conv.weight.shape[1], *conv.kernel).numpy()
    axes = [np.unique(table.numpy() >= 0, axis=0, return_counts=True) for table in conv.reads]
    for patterns in product(*(list(zip(masks, counts, strict=True)) for masks, counts in axes)):
        inside = reduce(np.multiply.outer, [mask for mask, _ in patterns])
        for kernels in by_group:
            yield (kernels * inside).reshape(len(kernels), -1), prod(int(count) for _, count in patterns)
