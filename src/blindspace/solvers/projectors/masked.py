"""Maps of the values inside a mask: one solver for all parts of the image in which the mask looks alike.

A map that reads patch by patch, channel by channel or token by token is block-diagonal, and stays so whatever the mask
leaves of each block. Blocks of which the mask leaves the same values share one factorisation; of most there is all or
nothing left. A map without such blocks is one block: a matrix where it is small, else conjugate gradients, whose
preconditioner is the diagonal of A Aᵀ, because a mask's edge leaves outputs that read next to nothing of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import Composed, Convolution, Dense, Gather, Kronecker, LinearMap, Rearrange, compose
from ...maps.properties import reads_disjoint_patches
from .._choose import choose
from ..base import MEMORY_LIMIT, Cost, Solver, register
from ..dense_algebra.banded_cholesky import BandedCholesky, row_norms
from ..dense_algebra.blocks import groups
from ..rank.certificate import merge
from ..rank.independent_rows import settled
from ..rank.modular_elimination import most_entries
from .dense import DenseSolver
from .krylov import Apply, KrylovSolver, memory

WORK = 1e11  # Multiplications up to which the matrix of a map without blocks is factorised
ROWS_WORK = 5e11  # Multiplications that the factorisation of the rows of a resize may take
ENTRIES = 200_000_000  # Entries of the matrix up to which its rows are computed for the preconditioner


class Cells(NamedTuple):
    """Equal blocks of a block-diagonal map: the map of one, and the flat positions of the values that each reads.

    Attributes:
        block: The map of one block.
        places: Positions in the whole input, int64 ``(k, block.in_dim)``; −1 for values outside it, which are 0.
    """

    block: LinearMap
    places: Tensor


@register
class MaskedSolver(Solver):
    """The solver of a map after an embedding of the values inside a mask.

    Args:
        operator: The composition.

    Raises:
        UnsupportedLayerError: The map is none.
    """

    name = "masked"
    scope = "values inside an irregular mask"
    how = "one solver for all patches or channels in which the mask looks alike"

    def __init__(self, operator: LinearMap) -> None:
        super().__init__(operator)
        first, rest = _split(operator)
        self.whole = _through_rows(first, rest)
        if self.whole is not None:
            self.certificate, self.reason = self.whole.certificate, self.whole.reason
            return
        cells = _cells(rest)
        alone = sum(len(each.places) for each in cells) == 1
        self.parts: list[tuple[Solver, Tensor]] = []
        read = torch.cat([first.read, first.read.new_tensor([-1])])
        for block, places in cells:
            values = read[places]
            patterns, which = np.unique(values.numpy() >= 0, axis=0, return_inverse=True)
            for number, pattern in enumerate(torch.from_numpy(patterns)):
                if bool(pattern.any()):
                    of_pattern = torch.from_numpy(np.flatnonzero(which.ravel() == number))
                    solver = _decided(_single(block, pattern) if alone else choose(_columns(block, pattern)))
                    self.parts.append((solver, values[of_pattern][:, pattern]))
        self.certificate = merge((solver.certificate, len(values)) for solver, values in self.parts)
        count = sum(len(values) for _, values in self.parts)
        self.reason = f"{count} blocks with a part inside the mask, {len(self.parts)} of them different"
        if alone:
            self.reason = self.parts[0][0].reason

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map embeds the values of a mask, and is block-diagonal behind that or too large for a matrix."""
        if not isinstance(operator, Composed) or not _embeds(operator.factors[0]):
            return False
        cells = _cells(_split(operator)[1])
        return sum(len(each.places) for each in cells) > 1 or not _is_small(operator)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The vectors of an iteration; the blocks' solvers limit their memory themselves."""
        return Cost(memory(operator), 42)

    def _project(self, x: Tensor) -> Tensor:
        if self.whole is not None:
            return self.whole.project(x)
        result = x.clone()  # what no block reads is free
        for solver, values in self.parts:
            places = values.to(x.device)
            blocks = x[:, places].reshape(-1, *solver.operator.in_shape)
            # In float64: rounding in float32 would be amplified by the preconditioner of dependent rows.
            result[:, places] = solver.project(blocks.double()).reshape(len(x), *places.shape).to(x)
        return result

    def _diagonal(self) -> Tensor | None:
        if self.whole is not None:
            return self.whole.diagonal()
        result = torch.ones(self.operator.in_dim, dtype=torch.float64)  # what no block reads is free
        for solver, values in self.parts:
            found = solver.diagonal()
            if found is None:
                return None
            result[values] = found.flatten()
        return result


class RowsSolver(Solver):
    """A resize of the values inside a mask, alike in all channels, and what reads its outputs: N(C R) with R = L Q.

    Q has orthonormal rows (an LQ factorisation of what the mask leaves of one channel), so that C L, which is as small
    as the resized image, has the singular values of C R, and P x = x − Qᵀ (Q x − P' Q x) with its projector P'.

    Args:
        operator: The map C R, of the values inside.
        rows: Q of one channel, ``(r, n)``.
        inner: The solver of C L.
        values: The values of each channel, int64 ``(channels, n)``.
    """

    name = "masked"

    def __init__(self, operator: LinearMap, rows: Tensor, inner: Solver, values: Tensor) -> None:
        super().__init__(operator)
        self.rows, self.inner, self.values = rows, inner, values
        self.certificate = inner.certificate
        if inner.certificate.rank < min(
            inner.operator.shape
        ):  # L was rounded, and its rank over the rationals is not A's
            kind = "numerical" if inner.certificate.kind == "exact" else inner.certificate.kind
            self.certificate = replace(inner.certificate, kind=kind, exact_rank=None)
        self.reason = f"an LQ factorisation of the values inside, {tuple(rows.shape)} per channel; {inner.reason}"

    def _project(self, x: Tensor) -> Tensor:
        places, rows = self.values.to(x.device), self.rows.to(x)
        read = x[:, places] @ rows.T
        rest = read - self.inner.project(read)
        result = x.clone()
        result[:, places] -= rest @ rows
        return result


def _through_rows(embedding: Gather, rest: LinearMap) -> Solver | None:
    """The solver by the rows of a resize, where that is small and something reads its outputs; else None."""
    resize, *outer = rest.factors
    if not outer or not isinstance(resize, Kronecker):
        return None
    ((block, places),) = _cells(resize)
    values = embedding.read[places]
    pattern = values[0] >= 0
    if not bool(((values >= 0) == pattern).all()) or most_entries(block) > ENTRIES:
        return None
    matrix = _columns(block, pattern).to_scipy()
    reading = np.flatnonzero(row_norms(matrix))
    read = np.flatnonzero(np.diff(scipy.sparse.csc_array(matrix[reading]).indptr))
    if len(read) * float(len(reading)) ** 2 > ROWS_WORK or 32 * len(read) * len(reading) > MEMORY_LIMIT:
        return None
    values = values[:, pattern][:, read]
    q, r = torch.linalg.qr(torch.from_numpy(matrix[reading][:, read].toarray()).T)
    lower = torch.zeros(block.out_dim, len(r), dtype=torch.float64)
    lower[reading] = r.T
    small = Dense(lower, (len(values),))
    inner = choose(compose(small, Rearrange(small.out_shape, resize.out_shape), *outer))
    operator = compose(embedding, rest)
    return RowsSolver(operator, q.T.contiguous(), inner, values)


def _embeds(operator: LinearMap) -> bool:
    """Whether a map places all its inputs, each once, among zeros."""
    if not isinstance(operator, Gather) or len(operator.in_shape) != 1:
        return False
    placed = operator.read[operator.read >= 0]
    return len(placed) == operator.in_dim and len(torch.unique(placed)) == len(placed)


def _split(operator: LinearMap) -> tuple[Gather, LinearMap]:
    """The embedding, and the map behind it."""
    first, *rest = operator.factors
    if not rest or not isinstance(first, Gather) or not _embeds(first):
        raise UnsupportedLayerError(f"{operator} does not begin with the values of a mask")
    return first, compose(*rest)


def _cells(operator: LinearMap) -> list[Cells]:
    """The blocks of a map, equal ones together; the map itself is the only one if its structure shows no others."""
    places = torch.arange(operator.in_dim)
    match operator:
        case Dense():
            return [Cells(Dense(operator.matrix), places.reshape(prod(operator.leading), -1))]
        case Kronecker():
            one = Kronecker(operator.matrices, (1, *operator.in_shape[operator.axes.start :]))
            return [Cells(one, places.reshape(operator.leading, -1))]
        case Convolution(groups=1) if reads_disjoint_patches(operator):
            return [Cells(Dense(operator.weight.flatten(1)), _patches(operator))]
        case Convolution() if operator.groups > 1:
            by_group = places.reshape(operator.groups, -1)
            return [Cells(conv, by_group[numbers]) for conv, numbers in groups(operator)]
    return [Cells(operator, places[None])]


def _patches(conv: Convolution) -> Tensor:
    """The flat positions that each output position reads, ``(positions, C · taps)``, −1 outside the image."""
    axes = len(conv.reads)
    place = torch.zeros((1,) * 2 * axes, dtype=torch.int64)
    inside = torch.ones_like(place, dtype=torch.bool)
    for axis, table in enumerate(conv.reads):  # (outputs, taps)
        shape = [1] * 2 * axes
        shape[axis], shape[axes + axis] = table.shape
        place = place * conv.in_shape[axis + 1] + table.reshape(shape)
        inside = inside & (table >= 0).reshape(shape)
    outputs, pixels = prod(conv.out_shape[1:]), prod(conv.in_shape[1:])
    place, inside = place.reshape(outputs, 1, -1), inside.reshape(outputs, 1, -1)
    channels = pixels * torch.arange(conv.in_shape[0])[None, :, None]
    return torch.where(inside, place + channels, -1).flatten(1)


def _columns(block: LinearMap, pattern: Tensor) -> LinearMap:
    """The columns of a block that belong to values inside the mask, bool ``(block.in_dim,)``."""
    if bool(pattern.all()):
        return block
    if isinstance(block, Dense):
        return Dense(block.matrix[:, pattern])
    read = torch.full(pattern.shape, -1)
    read[pattern] = torch.arange(int(pattern.sum()))
    return compose(Gather((int(pattern.sum()),), block.in_shape, read), block)


def _decided(solver: Solver) -> Solver:
    """The solver, with a certificate by independent rows where its own is undecided.

    A mask's edge leaves outputs that read next to nothing, and so σ below what A Aᵀ resolves. An orthonormal basis has
    the numerical rank that it was made with, which no other certificate can change.
    """
    if solver.certificate.kind == "undecided":
        with suppress(TooLargeError, UnsupportedLayerError):
            found = settled(solver.operator)
            if found.rank == solver.certificate.rank or not isinstance(solver, DenseSolver):
                solver.certificate = found
    return solver


def _is_small(operator: LinearMap) -> bool:
    small, large = sorted(operator.shape)
    return small * small * large <= WORK and DenseSolver.cost(operator).memory <= MEMORY_LIMIT


def _single(block: LinearMap, pattern: Tensor) -> Solver:
    """The solver of a map without blocks."""
    operator = _columns(block, pattern)
    if _is_small(operator):
        return DenseSolver(operator)
    if most_entries(operator) > ENTRIES:
        return KrylovSolver.build(operator)
    matrix = operator.to_scipy()
    try:
        preconditioner: Apply = BandedCholesky(matrix)
        how = "banded Cholesky of a shifted A Aᵀ"
    except (TooLargeError, UnsupportedLayerError):
        norms = torch.from_numpy(row_norms(matrix))
        inverse = torch.where(norms > 0, (norms.max() / norms) ** 2, 1.0).reshape(operator.out_shape)
        preconditioner, how = lambda b: b * inverse.to(b), "the diagonal of A Aᵀ"
    found = KrylovSolver.build(operator, preconditioner=preconditioner, inner=torch.float64)
    found.reason += f", preconditioned by {how}"
    return found
