"""How many singular values lie below a bound, for maps far too large for a singular value decomposition.

A Aᵀ − s² I has as many negative eigenvalues as A has singular values below s. Its rows are ordered so that it is block-
tridiagonal with small blocks: outputs of a convolution see each other only where their kernels overlap. Then

    D₁ = G₁₁,    D_i = G_ii − C_i D_{i−1}⁻¹ C_iᵀ,    C_i = G_{i,i−1},

and the negative eigenvalues of all D_i together are those of the whole (Sylvester's law; Haynsworth 1968).

Rounding moves the eigenvalues of A Aᵀ by some ε‖A‖², so that no σ below about √ε‖A‖ = 1.5e-8 ‖A‖ can be told from
zero; ``resolution`` leaves room for longer sums. The augmented form [[sI, A], [Aᵀ, sI]] would resolve ε‖A‖ if it were
pivoted as a whole; block by block, its pivots s let errors grow as ε/s, which is no finer than √ε again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod

import numpy as np
import scipy.linalg
import scipy.sparse

from ...errors import TooLargeError, UnsupportedLayerError, ValueRangeError
from ...maps import Composed, Convolution, Dense, Jacobian, Kronecker, LinearMap, Summed, VStack
from ...maps.linear_map import Adjoint
from .certificate import GAP, Certificate, Kind, confirmed
from .modular_elimination import exact_rank, live, ordered, rational_factors

WORK_LIMIT = 2e12
"""Floating-point operations that one count may take, about a minute on one core."""

MEMORY_LIMIT = 4 << 30
"""Bytes above which a count is refused."""

ROOM = 8.0
"""How many times the bound on rounding errors in A Aᵀ the square of a σ must be to count."""

GROWTH = 100.0
"""By how much sums on the way may outgrow ‖A‖² at the resolution. Rounding errors add up as the root of their number,
far below the bound that ``ROOM`` multiplies; this takes up the slack."""

LEAST_BLOCK = 256
"""Rows that a block has at least, where there are so many: smaller products only cost calls."""

TRIES = 4
"""Bounds tried, 10 % apart, where one hits a singular value of a part of the map."""

Array = np.ndarray


class Inertia:
    """Counts the singular values of a map below given bounds.

    Args:
        operator: A. Where it has more outputs than inputs Aᵀ takes its place, with the same singular values.
        limit: bytes that a count may take.
        work: floating-point operations that a count may take.

    Attributes:
        size: min(m, n), the number of singular values.
        dead: how many of them are 0 because a row or column holds nothing.
        norm: ‖A‖, the largest.
        resolution: the smallest bound that can be asked for.

    Raises:
        TooLargeError: a count would take more.
    """

    def __init__(self, operator: LinearMap, limit: int = MEMORY_LIMIT, work: float = WORK_LIMIT) -> None:
        entries = _entries(operator)
        if 24 * entries > limit:
            raise TooLargeError(
                f"the sparse matrix of {operator} has {entries:.1e} entries and takes {24 * entries / 2**30:.1f} GiB, "
                f"above the limit of {limit / 2**30:.1f} GiB; take a smaller input shape, or raise it"
            )
        matrix = operator.to_scipy()
        self.size = min(matrix.shape)
        matrix = live(matrix)
        matrix = ordered(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
        self.operator = operator
        self.dead = self.size - matrix.shape[0]
        self.norm = operator.norm()
        # A power of two: exact, and keeps squares of tiny or huge weights in range.
        self.scale = 2.0 ** np.floor(np.log2(self.norm)) if self.norm else 1.0
        self.rows = matrix / self.scale
        self.blocks = _blocks(matrix)
        sizes = np.diff(self.blocks).astype(float)
        largest = sizes.max(initial=0)
        bytes_taken, operations = 8 * 7 * largest**2, float(4 * (sizes**3).sum())
        if bytes_taken > limit or operations > work:
            raise TooLargeError(
                f"counting the singular values of {operator} takes {len(sizes)} blocks of up to {largest:.0f} rows, "
                f"{bytes_taken / 2**30:.1f} GiB and {operations:.1e} operations, above the limits of "
                f"{limit / 2**30:.1f} GiB and {work:.0e}; take a smaller input shape, or raise them"
            )
        terms = 2 * largest + np.diff(matrix.indptr).max(initial=1)
        self.resolution = float(np.sqrt(ROOM * terms * np.finfo(np.float64).eps)) * self.norm

    def count_below(self, s: float) -> int:
        """How many singular values lie below s.

        Args:
            s: at least ``resolution``.

        Raises:
            ValueRangeError: s is below the resolution.
            UnsupportedLayerError: s is so near a singular value of a part of A that rounding takes over; another s, a
                few per cent off, will do.
        """
        if not s >= self.resolution > 0:
            raise ValueRangeError(
                f"A Aᵀ of {self.operator} resolves σ from {self.resolution:.2g} on, asked for {s:.2g}"
            )
        most = GROWTH * (s / self.resolution) ** 2 * (self.norm / self.scale) ** 2
        negative = 0
        before = eliminated = None
        for start, stop in zip(self.blocks[:-1], self.blocks[1:], strict=True):
            rows = self.rows[start:stop]
            block = (rows @ rows.T).toarray()
            block.flat[:: len(block) + 1] -= (s / self.scale) ** 2
            if before is not None and eliminated is not None:
                change, size = eliminated.complement((rows @ before.T).toarray())
                if not size <= most:
                    raise UnsupportedLayerError(f"{s:.6g} is too near a singular value of a part of {self.operator}")
                block -= change
            eliminated, before = _Factored(block), rows
            negative += eliminated.negative
        return int(self.dead + negative)

    def count_near(self, s: float) -> tuple[int, float]:
        """``count_below`` of the first bound from s upwards, in steps of 10 %, that rounding allows; and that bound.

        Raises:
            ValueRangeError: s is below the resolution.
            UnsupportedLayerError: none of the first few is allowed.
        """
        for _ in range(TRIES - 1):
            with suppress(UnsupportedLayerError):
                return self.count_below(s), s
            s *= 1.1
        return self.count_below(s), s


def count_below(operator: LinearMap, s: float) -> int:
    """How many of the min(m, n) singular values of a map lie below s. As ``Inertia(map).count_below(s)``.

    Raises:
        TooLargeError: a count would take more than ``MEMORY_LIMIT`` or ``WORK_LIMIT``.
        ValueRangeError: s is below what A Aᵀ resolves.
        UnsupportedLayerError: s is too near a singular value of a part of A.
    """
    return Inertia(operator).count_below(s)


def certify(operator: LinearMap, limit: int = MEMORY_LIMIT, work: float = WORK_LIMIT) -> Certificate:
    """The rank of a map by inertia: exact where no σ lies below the resolution.

    Two bounds are asked, the resolution and one ``GAP`` times higher: where as many σ lie below both there is a gap.
    The ``sigma_above`` and ``sigma_below`` of the certificate are these bounds, and the resolution is its tolerance.
    Below full rank elimination modulo primes is asked too, where it is within its limits.

    Args:
        operator: any with a sparse matrix.
        limit: bytes that a count may take.
        work: floating-point operations that a count may take.

    Raises:
        TooLargeError: a count would take more.
        UnsupportedLayerError: rounding takes over at every bound tried.
    """
    inertia = Inertia(operator, limit, work)
    method = "inertia of A Aᵀ"
    if inertia.dead == inertia.size:
        return Certificate(0, "exact", method, 0.0, 0.0, None, None)
    count, above = inertia.count_near(GAP * inertia.resolution)
    kind: Kind = "exact"
    below = None
    if count > inertia.dead:
        weak = count
        count, low = inertia.count_near(inertia.resolution)
        above = low if count < weak else above
        if count > inertia.dead:
            kind, below = ("undecided" if count < weak else "numerical"), low
    found = Certificate(inertia.size - count, kind, method, inertia.resolution, inertia.norm, above, below)
    if kind != "exact":
        with suppress(TooLargeError):
            exact = exact_rank(*rational_factors(operator))
            # Every σ counted stands clear of rounding: where the others are 0 exactly, no gap is needed.
            found = confirmed(replace(found, kind="numerical") if exact.rank == found.rank else found, exact)
    return found


def _entries(operator: LinearMap) -> int:
    """Non-zero entries of a map's matrix at most, as far as its parts tell."""
    match operator:
        case Convolution():
            return operator.out_dim * int(np.prod(operator.weight.shape[1:]))
        case Adjoint():
            return _entries(operator.of)
        case Composed(factors=parts):
            a_row = prod(_entries(part) / part.out_dim for part in parts)
            return int(operator.out_dim * min(a_row, operator.in_dim))
        case VStack(parts=parts) | Summed(parts=parts):
            return sum(_entries(part) for part in parts)
        case Kronecker(matrices=matrices):
            rest = operator.in_dim // prod(matrix.shape[1] for matrix in matrices)
            return rest * prod(int(matrix.count_nonzero()) for matrix in matrices)
        case Jacobian():
            return operator.in_dim * operator.out_dim
        case Dense():
            return operator.matrix.numel() * int(np.prod(operator.leading))
    return max(operator.in_dim, operator.out_dim)


class _Factored:
    """A symmetric matrix D = L Δ Lᵀ: Cholesky's where it is positive definite, else Bunch and Kaufman's.

    Attributes:
        negative: how many of its eigenvalues are negative; a 2 × 2 pivot of Δ has one of each sign.
    """

    def __init__(self, matrix: Array) -> None:
        self.order = np.arange(len(matrix))
        self.bands: Array | None = None
        self.negative = 0
        try:
            self.lower = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            permuted, pivots, self.order = scipy.linalg.ldl(matrix, check_finite=False)
            self.lower = permuted[self.order]
            diagonal, beside = pivots.diagonal(), pivots.diagonal(-1)
            self.bands = np.stack([np.append(0, beside), diagonal, np.append(beside, 0)])
            alone = ~(self.bands[0] != 0) & ~(self.bands[2] != 0)
            self.negative = int(np.count_nonzero(beside) + (diagonal[alone] < 0).sum())

    def complement(self, coupling: Array) -> tuple[Array, float]:
        """C D⁻¹ Cᵀ, and the largest sum of absolute values on its diagonal, by which rounding errors grow."""
        x = scipy.linalg.solve_triangular(self.lower, coupling.T[self.order], lower=True, check_finite=False)
        with np.errstate(all="ignore"):  # a pivot may be 0; then the sums are not finite, or the solver says so
            try:
                y = x if self.bands is None else scipy.linalg.solve_banded((1, 1), self.bands, x, check_finite=False)
            except np.linalg.LinAlgError:
                y = np.full_like(x, np.inf)
            return x.T @ y, float(np.einsum("ij,ij->j", np.abs(x), np.abs(y)).max(initial=0))


def _blocks(matrix: scipy.sparse.csr_array) -> Array:
    """Where to cut the rows of a matrix so that only neighbouring blocks share a column; from 0 to the number of rows.

    Every row of a block must see no further than the end of the next.
    """
    rows = matrix.shape[0]
    by_column = scipy.sparse.csc_array(matrix)
    by_column.sort_indices()
    last = by_column.indices[by_column.indptr[1:] - 1]  # the last row that reads each column
    sees = np.maximum.accumulate(np.maximum.reduceat(last[matrix.indices], matrix.indptr[:-1])) + 1 if rows else last
    cuts = [0]
    while cuts[-1] < rows:
        seen = sees[cuts[-1] - 1] if cuts[-1] else 1
        cuts.append(int(min(max(seen, cuts[-1] + LEAST_BLOCK), rows)))
    return np.array(cuts)
