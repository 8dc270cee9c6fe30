"""The blocks of an image that are rounded by themselves, and their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.csgraph

from ..maps import Composed, Kronecker, LinearMap, Shape, compose

Index = npt.NDArray[np.int64]

WHOLE = 4096
"""Default for the largest number of connected values that form one block, with one dense factorisation."""

SIDE = 16
"""Default for the side of a tile; from 8 to 16 the ratio to plain rounding grows by 4 to 15 % (measured)."""

SPARSE = 0.1
"""Share of nonzero entries up to which two matrices are multiplied as sparse ones (their geometric mean)."""


def narrowest(a: LinearMap) -> LinearMap:
    """The first maps of a composition that begins with a resize, up to the smallest output; other maps unchanged.

    What those cannot see the rest cannot either, and their blocks are far smaller.
    """
    if not isinstance(a, Composed) or not isinstance(a.factors[0], Kronecker):
        return a
    sizes = [factor.out_dim for factor in a.factors]
    return compose(*a.factors[: sizes.index(min(sizes)) + 1])


def blocks_of(
    matrices: Sequence[scipy.sparse.csc_array], shape: Shape, whole: int = WHOLE, side: int = SIDE
) -> tuple[Index, list[Index]]:
    """Flat indices of the values that no output reads, and of the values of each block.

    A block is a connected component of the bipartite graph of values and outputs, or a tile of one that is large.

    Args:
        matrices: Factors of the map, the first one to be applied first.
        shape: Shape of an image.
        whole: Largest number of values of a component that is not cut into tiles.
        side: Side of a tile in pixels.
    """
    joined = _joined(matrices)
    large = np.bincount(joined)[joined] > whole
    places = np.indices(shape).reshape(len(shape), -1)[-2:]
    # Sorted by tile, so that a tile comes after its neighbours above and to the left.
    keys = np.stack([joined, *(np.where(large, axis // side, 0) for axis in places[::-1])])
    order = np.lexsort(keys)
    read = np.diff(matrices[0].indptr) > 0
    order = order[read[order]]
    starts = np.flatnonzero(np.diff(keys[:, order], axis=1).any(0)) + 1
    blocks = [np.sort(block) for block in np.split(order, starts)] if len(order) else []
    return np.flatnonzero(~read), blocks


def _joined(matrices: Sequence[scipy.sparse.csc_array]) -> Index:
    """The number of each value's connected component, ``(in_dim,)``."""
    sizes = [matrices[0].shape[1], *(matrix.shape[0] for matrix in matrices)]
    starts = np.cumsum([0, *sizes])
    edges = [(row + starts[i + 1], col + starts[i]) for i, (row, col) in enumerate(_entries(matrices))]
    rows, columns = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = scipy.sparse.csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(starts[-1], starts[-1]))
    _, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return np.unique(labels[: sizes[0]], return_inverse=True)[1]


def _entries(matrices: Sequence[scipy.sparse.csc_array]) -> Iterator[tuple[Index, Index]]:
    """Rows and columns of the nonzero entries of each matrix, where one of several alike rows stands for all.

    The outputs of a convolution at one place read the same values, and are many.
    """
    names = np.arange(matrices[0].shape[1])
    for matrix in matrices:
        rows, columns = matrix.indices, np.repeat(names, np.diff(matrix.indptr))
        # Rows that read the same values have the same sum of random numbers, modulo 2⁶⁴.
        drawn = np.random.default_rng(0).integers(-(2**63), 2**63, matrix.shape[1])
        ones = np.ones(matrix.nnz, dtype=np.int64)
        sums = scipy.sparse.csc_array((ones, matrix.indices, matrix.indptr), shape=matrix.shape) @ drawn
        _, first, alike = np.unique(sums, return_index=True, return_inverse=True)
        # What reads nothing connects nothing.
        names = np.where(sums == 0, np.arange(len(sums)), first[alike])
        kept = names == np.arange(len(names))
        yield rows[kept[rows]], columns[kept[rows]]


def stages_of(patterns: Sequence[scipy.sparse.csc_array], blocks: Sequence[Index]) -> list[Index]:
    """Numbers of the blocks of each stage: a block comes after all earlier ones that share an output with it."""
    if not blocks:
        return []
    belongs = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    entries = (np.ones(len(belongs)), (np.concatenate(blocks), belongs))
    reads = scipy.sparse.csc_array(entries, shape=(patterns[0].shape[1], len(blocks)))
    for pattern in patterns:
        reads = pattern @ reads
    reads.data[:] = 1
    meets = scipy.sparse.csr_array(reads.T @ reads)
    stage = np.zeros(len(blocks), dtype=np.int64)
    for i in range(len(blocks)):
        others = meets.indices[meets.indptr[i] : meets.indptr[i + 1]]
        stage[i] = 1 + stage[others[others < i]].max(initial=-1)
    return [np.flatnonzero(stage == k) for k in range(int(stage.max()) + 1)]


def gram_of(matrices: Sequence[scipy.sparse.csr_array]) -> npt.NDArray[np.float64]:
    """BᵀB of the product B of some matrices, the first one applied first, from the narrowest place outwards.

    Behind that place B has more rows and more entries, which all say the same.
    """
    sizes = [matrix.shape[0] for matrix in matrices]
    narrow = sizes.index(min(sizes)) + 1
    inner, outer = matrices[0], list(matrices[narrow:])
    for matrix in matrices[1:narrow]:
        inner = matrix @ inner
    if not outer:
        return _product(inner.T, inner)
    middle = outer[0]
    for matrix in outer[1:]:
        middle = matrix @ middle
    return _product(inner.T, (middle.T @ middle) @ inner)


def _product(left: scipy.sparse.sparray, right: scipy.sparse.sparray) -> npt.NDArray[np.float64]:
    """The product of two matrices, as a dense one."""
    if left.nnz * right.nnz < SPARSE**2 * math.prod(left.shape) * math.prod(right.shape):
        return np.asarray((left @ right).toarray())
    return np.asarray(left.toarray() @ right.toarray())


def through(matrices: Sequence[scipy.sparse.csc_array], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The product of the matrices, the first one applied first, with v."""
    for matrix in matrices:
        v = matrix @ v
    return v
