"""The number of singular values below a bound, for maps far too large for a singular value decomposition.

Known as spectrum slicing by inertia counts; Parlett, The Symmetric Eigenvalue Problem, section 3.3. A Aᵀ − s² I has as
many negative eigenvalues as A has singular values below s. Its rows are ordered so that it is block-tridiagonal with
small blocks: outputs of a convolution are coupled only if their kernels overlap. Then

    D₁ = G₁₁,    D_i = G_ii − C_i D_{i−1}⁻¹ C_iᵀ,    C_i = G_{i,i−1},

and the negative eigenvalues of all D_i together are as many as those of the whole (Sylvester's law of inertia;
Haynsworth 1968).

Rounding moves the eigenvalues of A Aᵀ by some ε‖A‖², so that no σ below about √ε‖A‖ = 1.5e-8 ‖A‖ is distinguishable
from 0; ``resolution`` allows for longer sums. The augmented form [[sI, A], [Aᵀ, sI]] would resolve ε‖A‖ if it were
pivoted as a whole; block by block, its pivots s let errors grow as ε/s, which is no finer than √ε again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.sparse

from ...errors import TooLargeError, UnsupportedLayerError, ValueRangeError, require_memory
from ...maps import LinearMap
from ..dense_algebra.products import power_of_two
from .certificate import GAP, Certificate, Kind, confirmed
from .modular_elimination import ModularRank, exact_rank, most_entries, nonzero, ordered, rational_factors

WORK_LIMIT = 2e12  # Floating-point operations that one count may take, about a minute on one core
MEMORY_LIMIT = 4 << 30  # Bytes above which a count is refused
ROOM = 8.0  # Multiple of the bound on rounding errors in A Aᵀ that the square of a σ must reach to be counted

GROWTH = 100.0
"""Factor by which intermediate sums may exceed ‖A‖² at the resolution. Rounding errors add up as the root of their
number, far below the bound that ``ROOM`` multiplies; this uses the difference."""

LEAST_BLOCK = 256  # Least number of rows of a block, if the matrix has as many: smaller products only cost calls
TRIES = 4  # Number of bounds tried, 10 % apart, if one hits a singular value of a part of the map

Array = np.ndarray


class Inertia:
    """Counts the singular values of a map below given bounds.

    Args:
        operator: The linear map A. If it has more outputs than inputs, Aᵀ takes its place, with the same singular
            values.
        limit: Bytes that a count may take.
        work: Floating-point operations that a count may take.
        least_block: Least number of rows of a block.

    Attributes:
        size: Number min(m, n) of singular values.
        zeros: Number of singular values that are 0 because rows or columns are zero.
        norm: The largest singular value ‖A‖.
        resolution: The smallest bound that can be asked for.

    Raises:
        TooLargeError: A count would take more than the limits.
    """

    def __init__(
        self,
        operator: LinearMap,
        limit: int = MEMORY_LIMIT,
        work: float = WORK_LIMIT,
        least_block: int = LEAST_BLOCK,
    ) -> None:
        entries = most_entries(operator)
        instead = "take a smaller input shape, or raise the limit"
        require_memory(f"the sparse matrix of {operator} with {entries:.1e} entries", 24 * entries, limit, instead)
        matrix = operator.to_scipy()
        self.size = min(matrix.shape)
        matrix = nonzero(matrix)
        matrix = ordered(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
        self.operator = operator
        self.zeros = self.size - matrix.shape[0]
        self.norm = operator.norm()
        self.scale = power_of_two(self.norm)
        self.rows = matrix / self.scale
        self.blocks = _blocks(matrix, least_block)
        sizes = np.diff(self.blocks).astype(float)
        largest = sizes.max(initial=0)
        bytes_taken, operations = 8 * 7 * largest**2, float(4 * (sizes**3).sum())
        what = f"counting the singular values of {operator} in {len(sizes)} blocks of up to {largest:.0f} rows"
        require_memory(what, bytes_taken, limit, instead)
        if operations > work:
            raise TooLargeError(
                f"{what} needs about {operations:.1e} operations, above the limit of {work:.0e}; {instead}"
            )
        terms = 2 * largest + np.diff(matrix.indptr).max(initial=1)
        self.resolution = float(np.sqrt(ROOM * terms * np.finfo(np.float64).eps)) * self.norm

    def count_below(self, s: float) -> int:
        """The number of singular values below a bound s.

        Raises:
            ValueRangeError: The bound is below the resolution.
            UnsupportedLayerError: The bound is so near a singular value of a part of A that rounding errors dominate;
                another bound, a few per cent off, will do.
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
            # Only the columns that the block reads, as scipy's transposes take as long as there are columns.
            read = slice(int(rows.indices.min()), int(rows.indices.max()) + 1)
            here = rows[:, read]
            block = (here @ here.T).toarray()
            block.flat[:: len(block) + 1] -= (s / self.scale) ** 2
            if before is not None and eliminated is not None:
                change, size = eliminated.complement((here @ before[:, read].T).toarray())
                if not size <= most:
                    raise UnsupportedLayerError(f"{s:.6g} is too near a singular value of a part of {self.operator}")
                block -= change
            eliminated, before = _Factored(block), rows
            negative += eliminated.negative
        return int(self.zeros + negative)

    def count_near(self, s: float) -> tuple[int, float]:
        """``count_below`` of the first bound from s upwards, in steps of 10 %, that rounding allows; and that bound."""
        for _ in range(TRIES - 1):
            with suppress(UnsupportedLayerError):
                return self.count_below(s), s
            s *= 1.1
        return self.count_below(s), s


def certify(
    operator: LinearMap,
    limit: int = MEMORY_LIMIT,
    work: float = WORK_LIMIT,
    prove: Callable[..., ModularRank] = exact_rank,
) -> Certificate:
    """The rank of a map by inertia: exact if no σ lies below the resolution.

    Singular values are counted below two bounds, the resolution and one ``GAP`` times higher: equal counts show a gap.
    The ``sigma_above`` and ``sigma_below`` of the certificate are these bounds, and the resolution is its tolerance.
    Below full rank, the rank over the rationals is determined, too, within the limits of that.

    Args:
        operator: The linear map A.
        limit: Bytes that a count may take.
        work: Floating-point operations that a count may take.
        prove: Determines the rank over the rationals; raises ``TooLargeError`` if that would take too much.

    Raises:
        TooLargeError: A count would take more than the limits.
        UnsupportedLayerError: Rounding errors dominate at every bound tried.
    """
    inertia = Inertia(operator, limit, work)
    method = "inertia of A Aᵀ"
    if inertia.zeros == inertia.size:
        return Certificate(0, "exact", method, 0.0, 0.0, None, None)
    count, above = inertia.count_near(GAP * inertia.resolution)
    kind: Kind = "exact"
    below = None
    if count > inertia.zeros:
        weak = count
        count, low = inertia.count_near(inertia.resolution)
        above = low if count < weak else above
        if count > inertia.zeros:
            kind, below = ("undecided" if count < weak else "numerical"), low
    found = Certificate(inertia.size - count, kind, method, inertia.resolution, inertia.norm, above, below, None, "≥")
    if kind != "exact":
        with suppress(TooLargeError):
            exact = prove(*rational_factors(operator))
            # Every σ counted is clear of rounding: if the others are exactly 0, no gap is needed.
            found = confirmed(replace(found, kind="numerical") if exact.rank == found.rank else found, exact)
    return found


class _Factored:
    """A symmetric matrix D = L Δ Lᵀ: by Cholesky if it is positive definite, else by Bunch & Kaufman 1977.

    ``negative`` is the number of negative eigenvalues; a 2 × 2 pivot of Δ has one of each sign.
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
        with np.errstate(all="ignore"):  # a pivot may be 0; then the sums are not finite, or the solver raises
            try:
                y = x if self.bands is None else scipy.linalg.solve_banded((1, 1), self.bands, x, check_finite=False)
            except np.linalg.LinAlgError:
                y = np.full_like(x, np.inf)
            return x.T @ y, float(np.einsum("ij,ij->j", np.abs(x), np.abs(y)).max(initial=0))


def _blocks(matrix: scipy.sparse.csr_array, least: int) -> Array:
    """Cuts of the rows of a matrix, from 0 to the number of rows, so that only neighbouring blocks share a column."""
    rows = matrix.shape[0]
    by_column = scipy.sparse.csc_array(matrix)
    by_column.sort_indices()
    last = by_column.indices[by_column.indptr[1:] - 1]  # the last row that reads each column
    reach = np.maximum.accumulate(np.maximum.reduceat(last[matrix.indices], matrix.indptr[:-1])) + 1 if rows else last
    cuts = [0]
    while cuts[-1] < rows:
        end = reach[cuts[-1] - 1] if cuts[-1] else 1
        cuts.append(int(min(max(end, cuts[-1] + least), rows)))
    return np.array(cuts)
