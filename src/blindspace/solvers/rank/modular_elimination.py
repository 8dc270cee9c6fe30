"""The rank of a matrix over the rational numbers, by elimination modulo a prime.

Known as modular (multimodular) rank computation; von zur Gathen & Gerhard, Modern Computer Algebra, chapter 5. A
float64 is a whole number times a power of two, and 2 has an inverse modulo any odd prime p: so every weight has a
residue, without rounding, and elimination on residues is exact. A minor that is not 0 modulo p is not 0, hence

    rank modulo p ≤ rank over the rationals, with equality unless p divides every largest minor.

A full rank modulo p is a proof. A lower one is proved as a lower bound; as an upper bound it holds up to the chance
that p divides a minor, so it is determined with two primes drawn at random.

Elimination proceeds by panels of columns. Rows are ordered by the first column they read, and only those between their
first and their last are held (frontal method; Duff, Erisman & Reid, Direct Methods for Sparse Matrices, chapter 11):
a convolution's rows extend over a few lines of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, isqrt, log2, prod

import numpy as np
import scipy.sparse

from ...errors import TooLargeError, require_memory
from ...maps import Composed, Convolution, Dense, Jacobian, Kronecker, LinearMap, Summed, VStack
from ...maps.linear_map import Adjoint

PANEL = 128  # Columns eliminated at a time

LOWEST, HIGHEST = 1 << 22, 1 << 23
"""Primes are drawn from between these. Residues lie within ±p/2, so a sum of PANEL products stays below 2⁵¹ and float64
holds it exactly, with room for the residue it is subtracted from and for residues one or two beyond p/2."""

PRIMES_BETWEEN = 268_216  # Number of primes between them: π(2²³) − π(2²²) = 564163 − 295947

WORK_LIMIT = 6e10
"""Floating-point operations that one prime may take: a dense 4000 × 4000 matrix takes 4.3e10, seconds on one core."""

MEMORY_LIMIT = 2 << 30  # Bytes that the rows held at a time may take

Array = np.ndarray


@dataclass(frozen=True)
class ModularRank:
    """What elimination modulo primes shows of a rank.

    Attributes:
        rank: The largest rank modulo any of the primes. The rank over the rationals is never below it.
        full: Whether it is full among the nonzero rows or columns; then it is the rank over the rationals, proved.
        primes: The primes that it was found with.
        chance: Bound on the probability, over the draw of the primes, that the rank over the rationals is above
            ``rank``; 0 if it is full. It comes from Hadamard's bound on the minors, so it is far above what is to be
            expected, which is about 1/p for every prime.
    """

    rank: int
    full: bool
    primes: tuple[int, ...]
    chance: float


def exact_rank(
    *factors: scipy.sparse.csr_array | Array,
    seed: int = 0,
    panel: int = PANEL,
    work: float = WORK_LIMIT,
    memory: int = MEMORY_LIMIT,
) -> ModularRank:
    """The rank over the rationals of a matrix, or of a product that float64 could not form without rounding.

    Primes are drawn until two agree on the largest rank found; a full rank needs one.

    Args:
        factors: Matrices ``(m, n)``, float64, finite; of a product the factor applied first comes first.
        seed: Seed of the draw of the primes.
        panel: Columns eliminated at a time, at most 128.
        work: Floating-point operations that one prime may take.
        memory: Bytes that one prime may take.

    Raises:
        TooLargeError: A prime would take more operations or bytes.
    """
    sparse = [_canonical(factor) for factor in factors]
    full = min(nonzero(_product([abs(factor).sign() for factor in sparse])).shape)
    draw = np.random.default_rng(seed)
    found: dict[int, int] = {}
    while not found or (max(found.values()) < full and list(found.values()).count(max(found.values())) < 2):
        prime = _draw_prime(draw)
        if prime not in found:
            product = _product([residues(factor, prime) for factor in sparse], prime)
            found[prime] = _rank(product, prime, panel, work, memory)
    rank = max(found.values())
    agreeing = tuple(prime for prime in found if found[prime] == rank)
    chance = 0.0 if rank == full else min(comb(len(found), len(agreeing)) * _share(sparse) ** len(agreeing), 1.0)
    return ModularRank(rank, rank == full, agreeing, chance)


def independent(
    *factors: scipy.sparse.csr_array | Array,
    prime: int,
    columns: bool = False,
    work: float = WORK_LIMIT,
    memory: int = MEMORY_LIMIT,
) -> Array:
    """Rows of a matrix, or of a product, that are independent, proved by a prime, and as many as its rank modulo that.

    Args:
        factors: As ``exact_rank``.
        prime: One of the primes that it found.
        columns: Whether columns are asked for instead.
        work: As ``exact_rank``.
        memory: As ``exact_rank``.

    Returns:
        Indices of the rows, ascending.

    Raises:
        TooLargeError: The prime would take more operations or bytes.
    """
    product = _product([residues(_canonical(factor), prime) for factor in factors], prime)
    return np.sort(_pivots(scipy.sparse.csr_array(product.T) if columns else product, prime, PANEL, work, memory))


def residues(matrix: scipy.sparse.csr_array, prime: int) -> scipy.sparse.csr_array:
    """The residues of a finite float64 matrix modulo an odd prime below 2²³, exact, as integers within ±p/2."""
    mantissa, exponent = np.frexp(np.asarray(matrix.data, dtype=np.float64))
    whole = np.ldexp(mantissa, 53).astype(np.int64)  # the weight is whole · 2^(exponent − 53)
    lowest, highest = int(exponent.min(initial=0)), int(exponent.max(initial=0))
    power = np.array([pow(2, e - 53, prime) for e in range(lowest, highest + 1)], dtype=np.int64)
    values = (whole % prime) * power[exponent - lowest] % prime  # below 2⁴⁶ in between
    return _centred(scipy.sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape), prime)


def nonzero(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """The matrix without its zero rows and columns."""
    matrix = _canonical(matrix)
    read = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    return scipy.sparse.csr_array(matrix[np.diff(matrix.indptr) > 0][:, read])


def ordered(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Rows by the first column they read, and columns by the first row that reads them.

    The matrix has no zero rows and columns. A convolution's outputs come in the order of their places in the image.
    """
    return _ordered(matrix)[0]


def _ordered(matrix: scipy.sparse.csr_array) -> tuple[scipy.sparse.csr_array, Array]:
    """As ``ordered``, and the order of the rows."""
    matrix = _canonical(matrix)
    first = np.argsort(matrix.indices[matrix.indptr[:-1]], kind="stable")
    matrix = matrix[first]
    by_column = scipy.sparse.csc_array(matrix)
    by_column.sort_indices()
    matrix = matrix[:, np.argsort(by_column.indices[by_column.indptr[:-1]], kind="stable")]
    # The order of the columns changed which of them each row reads first.
    matrix.sort_indices()
    second = np.argsort(matrix.indices[matrix.indptr[:-1]], kind="stable")
    matrix = scipy.sparse.csr_array(matrix[second])
    matrix.sort_indices()
    return matrix, first[second]


def rational_factors(operator: LinearMap) -> list[scipy.sparse.csr_array]:
    """Matrices whose product is the map, first applied first, each as it is stored, without the product's rounding.

    Raises:
        TooLargeError: One of them has more entries than elimination could take.
    """
    if isinstance(operator, Composed):
        return [matrix for factor in operator.factors for matrix in rational_factors(factor)]
    if isinstance(operator, Adjoint):
        return [scipy.sparse.csr_array(matrix.T) for matrix in reversed(rational_factors(operator.of))]
    if isinstance(operator, Kronecker):
        # One axis after the other: the axes before have their new size by then, those behind not yet.
        factors = []
        for axis, matrix in zip(operator.axes, operator.matrices, strict=True):
            before, behind = prod(operator.out_shape[:axis]), prod(operator.in_shape[axis + 1 :])
            along = scipy.sparse.kron(matrix.numpy(), scipy.sparse.eye_array(behind))
            factors.append(scipy.sparse.csr_array(scipy.sparse.kron(scipy.sparse.eye_array(before), along)))
        return factors
    if isinstance(operator, VStack):
        chains = [rational_factors(part) for part in operator.parts]
        longest = max(len(chain) for chain in chains)
        for chain in chains:
            chain += [scipy.sparse.eye_array(chain[-1].shape[0], format="csr")] * (longest - len(chain))
        return [scipy.sparse.vstack([chain[0] for chain in chains], format="csr")] + [
            scipy.sparse.block_diag(level, format="csr") for level in list(zip(*chains, strict=True))[1:]
        ]
    require_memory(f"the sparse matrix of {operator}", 24 * most_entries(operator), MEMORY_LIMIT, "do without it")
    return [operator.to_scipy()]


def most_entries(operator: LinearMap) -> int:
    """An upper bound on the number of nonzero entries of a map's matrix, from its parts."""
    match operator:
        case Convolution():
            return operator.out_dim * int(np.prod(operator.weight.shape[1:]))
        case Adjoint():
            return most_entries(operator.of)
        case Composed(factors=parts):
            per_row = prod(most_entries(part) / part.out_dim for part in parts)
            return int(operator.out_dim * min(per_row, operator.in_dim))
        case VStack(parts=parts) | Summed(parts=parts):
            return sum(most_entries(part) for part in parts)
        case Kronecker(matrices=matrices):
            rest = operator.in_dim // prod(matrix.shape[1] for matrix in matrices)
            return rest * prod(int(matrix.count_nonzero()) for matrix in matrices)
        case Jacobian():
            return operator.in_dim * operator.out_dim
        case Dense():
            return operator.matrix.numel() * int(np.prod(operator.leading))
    return max(operator.in_dim, operator.out_dim)


def _canonical(matrix: scipy.sparse.csr_array | Array) -> scipy.sparse.csr_array:
    """A copy with one entry per place, sorted, without zeros; matrices made from its arrays may then share them."""
    copy = scipy.sparse.csr_array(matrix, copy=True)
    copy.sum_duplicates()
    copy.eliminate_zeros()
    return copy


def _product(factors: list[scipy.sparse.csr_array], prime: int | None = None) -> scipy.sparse.csr_array:
    """The product of integer matrices, modulo a prime if given, the first factor applied first."""
    result = factors[0]
    for factor in factors[1:]:
        # Sums of products below 2⁴⁴ stay below 2⁶³ up to 2¹⁹ terms.
        result = scipy.sparse.csr_array(factor @ result)
        if prime is not None:
            result = _centred(result, prime)
    return result


def _centred(matrix: scipy.sparse.csr_array, prime: int) -> scipy.sparse.csr_array:
    values = matrix.data % prime
    return scipy.sparse.csr_array(
        (values - prime * (values > prime // 2), matrix.indices, matrix.indptr), shape=matrix.shape
    )


def _rank(matrix: scipy.sparse.csr_array, prime: int, panel: int, work: float, memory: int) -> int:
    """The rank modulo p of a matrix of residues within ±p/2."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T  # a row of a wide matrix finds its pivot soon after it comes in
    return len(_pivots(scipy.sparse.csr_array(matrix), prime, panel, work, memory))


def _pivots(matrix: scipy.sparse.csr_array, prime: int, panel: int, work: float, memory: int) -> Array:
    """Indices of rows that are independent modulo p and span all others, of a matrix of residues within ±p/2."""
    matrix = _canonical(scipy.sparse.csr_array(matrix, dtype=np.float64))
    rows = np.flatnonzero(np.diff(matrix.indptr))
    if not matrix.nnz:
        return rows
    matrix, order = _ordered(nonzero(matrix))
    first, last = matrix.indices[matrix.indptr[:-1]], matrix.indices[matrix.indptr[1:] - 1]
    columns = matrix.shape[1]
    _check_cost(matrix.shape, first, last, panel, work, memory)
    end = come = 0
    front, held = np.empty((0, 0)), np.empty(0, dtype=np.int64)
    chosen: list[Array] = []
    for start in range(0, columns, panel):
        stop = min(start + panel, columns)
        new = int(np.searchsorted(first, stop))
        end = max(end, stop, int(last[come:new].max(initial=0)) + 1)
        incoming = matrix[come:new, start:end].toarray()
        grown = np.zeros((len(front), end - start))
        grown[:, : front.shape[1]] = front
        held = np.append(held, np.arange(come, new))
        pivots, front, left = _eliminate(np.vstack([grown, incoming]), stop - start, prime)
        chosen.append(held[pivots])
        held = held[left]
        come = new
    return np.asarray(rows[order[np.concatenate(chosen)]])


def _check_cost(
    shape: tuple[int, int], first: Array, last: Array, panel: int, most_work: float, most_memory: int
) -> None:
    """Raises if the panels, each with as many pivots as it can have, would take too much."""
    starts = np.arange(0, shape[1], panel)
    come = np.searchsorted(first, starts + panel)
    width = np.maximum.accumulate(np.maximum.accumulate(last)[np.maximum(come - 1, 0)] + 1) - starts
    held = np.maximum(come - starts, np.diff(come, prepend=0)).clip(0)
    what = f"elimination of a {shape[0]} × {shape[1]} matrix modulo a prime"
    instead = "take a smaller input shape, or do without the exact rank"
    work = float(2.0 * panel * (held * np.maximum(width, panel)).sum())
    if work > most_work:
        raise TooLargeError(f"{what} needs about {work:.1e} operations, above the limit of {most_work:.0e}; {instead}")
    require_memory(what, int(16 * (held * width).max()), most_memory, instead)


def _eliminate(front: Array, width: int, prime: int) -> tuple[list[int], Array, Array]:
    """Eliminates the first columns of a matrix of residues: the pivots' rows, the nonzero rows left, and their places.

    The panel is factored column by column: with the multipliers L, one column per pivot, and T the inverse of their
    triangle, a column is a − L (T a_pivots) by products alone.
    """
    panel, rest = front[:, :width], front[:, width:]
    multipliers = np.zeros((len(front), width), order="F")
    triangle = np.zeros((width, width))
    pivots: list[int] = []
    for j in range(width if len(front) else 0):
        r = len(pivots)
        column = panel[:, j].copy()
        if r:
            upper = _reduced(triangle[:r, :r] @ column[pivots], prime)
            column -= multipliers[:, :r] @ upper
            _reduced(column, prime)
        pivot = int(np.argmax(column != 0))  # any will do: nothing is rounded
        if not column[pivot]:
            continue
        triangle[r, :r] = _reduced(-(multipliers[pivot, :r] @ triangle[:r, :r]), prime)
        triangle[r, r] = 1
        column *= pow(int(column[pivot]), -1, prime)
        multipliers[:, r] = _reduced(column, prime)
        pivots.append(pivot)
    r = len(pivots)
    others = np.ones(len(front), dtype=bool)
    others[pivots] = False
    left = rest[others]
    if r and left.size:
        upper = _reduced(triangle[:r, :r] @ rest[pivots], prime)
        lower = np.ascontiguousarray(multipliers[others, :r])
        chunk = max((1 << 17) // left.shape[1], 8)  # a piece that stays in the cache while it is reduced
        for start in range(0, len(left), chunk):
            piece = left[start : start + chunk]
            piece -= lower[start : start + chunk] @ upper
            _reduced(piece, prime)
    remain = left.any(1)
    return pivots, left[remain], np.flatnonzero(others)[remain]


def _reduced(x: Array, prime: int) -> Array:
    """The residues within ±(p/2 + 2) of integers below 2⁵³, in place; 0 for multiples of p."""
    quotient = np.rint(x * (1 / prime))
    quotient *= prime
    x -= quotient
    return x


def _share(factors: list[scipy.sparse.csr_array]) -> float:
    """A bound on the share of all primes between ``LOWEST`` and ``HIGHEST`` that divide a minor of a product."""
    # A minor of a product is a sum over choices of columns (Cauchy & Binet), of which k columns leave 2ᵏ at most.
    bits = sum(_minor_bits(factor) for factor in factors) + sum(factor.shape[0] for factor in factors[:-1])
    return float(min(bits / log2(LOWEST) / PRIMES_BETWEEN, 1.0))


def _minor_bits(matrix: scipy.sparse.csr_array) -> float:
    """log₂ of Hadamard's bound on every minor of the matrix, scaled to integers by one power of two."""
    matrix = nonzero(scipy.sparse.csr_array(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T))
    if not matrix.nnz:
        return 0.0
    mantissa, exponent = np.frexp(matrix.data)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    twos = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)  # the largest power of two that divides it
    lowest = int((exponent - 53 + twos).min())
    largest = np.maximum.reduceat(exponent, matrix.indptr[:-1]) - lowest
    return float((largest + np.log2(np.diff(matrix.indptr)) / 2).sum())


def _draw_prime(draw: np.random.Generator) -> int:
    while True:
        n = int(draw.integers(LOWEST // 2, HIGHEST // 2)) * 2 + 1
        if all(n % d for d in range(3, isqrt(n) + 1, 2)):
            return n
