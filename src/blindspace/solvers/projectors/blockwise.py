"""One factorisation for each different block, for maps whose matrix falls into small blocks however they are composed.

Sums, stacks and compositions of moves and small matrices often do: a mixture of colours pixel by pixel, a transform of
every 8×8 patch. The blocks are the connected components of the bipartite graph of rows and columns (Pothen & Fan 1990).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import Composed, LinearMap, Summed, VStack
from ..base import ON_REQUEST, Cost, Solver, register
from ..dense_algebra.orthonormal_basis import Projector, projector
from ..rank.certificate import merge
from ..rank.modular_elimination import ModularRank, most_entries

LARGE = 3000  # Inputs from which blocks are looked for; below, one factorisation of the whole matrix is as quick
SIDE = 1024  # Rows and columns of the largest block
DIFFERENT = 64  # Different blocks at most
ENTRIES = 80_000_000  # Entries of the matrix at most
STEPS = 50  # Steps within which the block of one input must be complete


class Copies(NamedTuple):
    """Equal blocks: the matrix ``(r, c)``, its projector, and the rows ``(k, r)`` and columns ``(k, c)`` of all k."""

    matrix: Tensor
    projector: Projector
    rows: Tensor
    columns: Tensor


@register
class BlockwiseSolver(Solver):
    """The solver of sums, stacks and compositions that fall into small blocks.

    Args:
        operator: The linear map A.

    Raises:
        UnsupportedLayerError: A block is large, too many differ, or the matrix has too many entries to look for them.
    """

    name = "blockwise"
    scope = "sums, stacks and compositions that fall into small blocks"
    how = "one small matrix for all equal blocks"

    def __init__(self, operator: LinearMap) -> None:
        super().__init__(operator)
        if most_entries(operator) > ENTRIES or not _falls_apart(operator):
            raise UnsupportedLayerError(f"{operator} does not fall into small blocks")
        self.copies = [copies for copies in _blocks(operator.to_scipy()) if len(copies.matrix)]
        if len(self.copies) > DIFFERENT:
            raise UnsupportedLayerError(f"{operator} falls into {len(self.copies)} different blocks")
        self.certificate = merge((each.projector.certificate, len(each.rows)) for each in self.copies)
        count = sum(len(each.rows) for each in self.copies)
        self.reason = f"it falls into {count} blocks, {len(self.copies)} of them different"

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a sum, a stack or a composition; whether it falls into blocks takes its matrix."""
        return isinstance(operator, Composed | Summed | VStack)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The sparse matrix; from ``LARGE`` on."""
        preference = 45 if operator.in_dim > LARGE else ON_REQUEST
        return Cost(24 * min(most_entries(operator), ENTRIES), preference)

    def _project(self, x: Tensor) -> Tensor:
        result = x.flatten(1).clone()
        for each in self.copies:
            columns = each.columns.to(x.device)
            result[:, columns] = each.projector.rows(result[:, columns])
        return result.reshape(x.shape)

    def _diagonal(self) -> Tensor:
        result = torch.ones(self.operator.in_dim, dtype=torch.float64)
        for each in self.copies:
            result[each.columns] = each.projector.diagonal()
        return result

    def _gram_inverse(self, b: Tensor) -> Tensor:
        result = torch.empty_like(b.flatten(1))
        for each, inverse in zip(self.copies, self._inverses, strict=True):
            result[:, each.rows] = b.flatten(1)[:, each.rows] @ inverse
        return result.reshape(b.shape)

    @cached_property
    def _inverses(self) -> list[Tensor]:
        if self.certificate.rank < self.operator.out_dim:
            rank = f"{self.certificate.rank} of {self.operator.out_dim}"
            raise UnsupportedLayerError(f"A Aᵀ of {self.operator} is singular: the rank is {rank}")
        grams = (each.matrix @ each.matrix.T for each in self.copies)
        return [torch.cholesky_inverse(torch.linalg.cholesky(gram)) for gram in grams]


def _falls_apart(operator: LinearMap) -> bool:
    """Whether the block of an input amid the others is small, found by following what it reaches; quick to refuse."""
    generator = torch.Generator().manual_seed(0)
    reached = torch.zeros(1, operator.in_dim, dtype=torch.float64)
    reached[0, operator.in_dim // 2] = 1
    count = 0
    for _ in range(STEPS):
        # Random values, so that no sum of them vanishes by cancellation.
        outputs = operator._forward(reached.reshape(1, *operator.in_shape))
        values = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        inputs = operator._adjoint((outputs != 0) * values)
        reached = (inputs != 0) * torch.randn(inputs.shape, generator=generator, dtype=torch.float64)
        before, count = count, int(inputs.count_nonzero())
        if count > SIDE or int(outputs.count_nonzero()) > SIDE:
            return False
        if count == before:
            return True
    return False


def _blocks(matrix: scipy.sparse.csr_array) -> list[Copies]:
    """The blocks of a matrix, equal ones together.

    Raises:
        UnsupportedLayerError: A block is large.
    """
    rows, columns = matrix.shape
    coo = matrix.tocoo()
    edges = (np.ones(coo.nnz, dtype=bool), (coo.row, coo.col + rows))
    graph = scipy.sparse.csr_array(edges, shape=(rows + columns, rows + columns))
    count, label = connected_components(graph, directed=False)
    places = [_places(label[:rows], count), _places(label[rows:], count)]
    sizes = np.stack([size for _, size in places], 1)
    if int(sizes.max()) > SIDE:
        raise UnsupportedLayerError(f"a block of the matrix is {sizes.max(0)[0]} × {sizes.max(0)[1]}")
    found: list[Copies] = []
    for high, wide in np.unique(sizes[(sizes > 0).all(1)], axis=0):
        of_this_size = np.flatnonzero((sizes == (high, wide)).all(1))
        number = np.full(count, -1)
        number[of_this_size] = np.arange(len(of_this_size))
        here = number[label[coo.row]] >= 0
        at = number[label[coo.row[here]]], places[0][0][coo.row[here]], places[1][0][coo.col[here]]
        stack = np.zeros((len(of_this_size), high, wide))
        stack[at] = coo.data[here]
        members = []
        for (place, _), labels, side in zip(places, (label[:rows], label[rows:]), (high, wide), strict=True):
            index = np.flatnonzero(number[labels] >= 0)
            table = np.empty((len(of_this_size), side), dtype=np.int64)
            table[number[labels[index]], place[index]] = index
            members.append(torch.from_numpy(table))
        different, which = np.unique(stack.reshape(len(stack), -1), axis=0, return_inverse=True)
        for kind, values in enumerate(different):
            block = values.reshape(high, wide)
            equal = torch.from_numpy(np.flatnonzero(which.ravel() == kind))
            known = projector(scipy.sparse.csr_array(block), prove=_not_proved)
            found.append(Copies(torch.from_numpy(block), known, members[0][equal], members[1][equal]))
    return found


def _places(label: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The place of each row or column among those of its block, and the number of them in each block."""
    size = np.bincount(label, minlength=count)
    order = np.argsort(label, kind="stable")
    place = np.empty(len(label), dtype=np.int64)
    place[order] = np.arange(len(label)) - np.repeat(np.cumsum(size) - size, size)
    return place, size


def _not_proved(*factors: scipy.sparse.csr_array) -> ModularRank:
    """Products and sums were rounded: the rank of a block over the rationals need not be that of the map."""
    raise TooLargeError("the blocks of a composition are known to rounding only")
