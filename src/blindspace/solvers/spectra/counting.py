"""Spectrum counting: the number of singular values of a map up to ε, zeros included, by the best method available.

- If structure or size allows it, all singular values are counted (``singular_values.py``).
- If A Aᵀ can be factored block by block, its inertia is counted (``rank/inertia.py``), one factorisation per ε.
- Otherwise the number is estimated, with a 95 % interval, from random vectors (``lanczos_quadrature.py``). For a
  convolution the symbol of the circulant embedding bounds it as well: A is what is left of the circular map when its
  boundary rows and columns are removed, each of which changes the number by at most one (Cauchy's interlacing theorem).
  The boundary, and so the width of these bounds, grows as the perimeter of the image, the number as its area.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import numpy as np
import torch

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import LinearMap
from ...maps.simplify import isometry_free
from ..fourier.circulant_embedding import CirculantEmbedding, embeds
from ..rank.inertia import Inertia
from .lanczos_quadrature import PROBES, STEPS, Quadrature
from .singular_values import MATRIX_LIMIT, SingularValues, matrix_bytes

Kind = Literal["exact", "bounded", "estimated"]

INERTIA_WORK = 4e11
"""Floating-point operations that all inertia counts together may take, a minute on one core if all are needed."""

FEWEST = 6  # Smallest number of counts among which the operations are divided

ASIDE = (1e-6, 1e-3, 0.1)
"""Distances from a bound at which inertia fails, as shares of it, at which inertia is tried on either side."""

SYMBOL_LIMIT = 512 << 20  # Bytes that the symbol of a circulant embedding may take
ROUNDING = 1e-10  # Bound on the error of a singular value of a symbol, as a share of ε


class Count(NamedTuple):
    """One number of singular values: bounds, the best figure and its kind."""

    low: int
    best: int
    high: int
    kind: Kind


def count_up_to(
    operator: LinearMap,
    values: SingularValues | None,
    bounds: Sequence[float],
    seed: int = 0,
    matrix_limit: int = MATRIX_LIMIT,
    probes: tuple[int, int] = PROBES,
    steps: tuple[int, int] = STEPS,
) -> tuple[list[Count], str]:
    """The numbers of a map's n singular values, zeros included, up to each of some bounds, and how they were counted.

    Args:
        operator: The linear map A, not zero.
        values: Its singular values, if ``singular_values`` finds them; else None.
        bounds: Bounds above 0; the sequence may be empty.
        seed: Seed of the random vectors, if the numbers are estimates.
        matrix_limit: Bytes up to which the sparse matrix of the map is made, to count by inertia.
        probes: Smallest and largest number of random vectors.
        steps: Smallest and largest number of Lanczos steps.

    Returns:
        One count per bound, and the method in words.
    """
    if values is not None:
        return [_certain(*values.up_to(bound)) for bound in bounds], values.method
    free = isometry_free(operator)
    inner, gain = free.operator, free.gain
    scaled = [bound / gain for bound in bounds]
    counted = _by_inertia(inner, scaled) if matrix_bytes(inner) <= matrix_limit else None
    found, method = counted or _by_quadrature(inner, scaled, seed, probes, steps)
    # Only min(m, n) of the n directions have been counted; the others have singular value 0.
    more = operator.in_dim - min(inner.in_dim, inner.out_dim)
    return [Count(low + more, best + more, high + more, kind) for low, best, high, kind in found], method


def _certain(low: int, best: int, high: int) -> Count:
    return Count(low, best, high, "exact" if low == high else "bounded")


def _by_inertia(operator: LinearMap, bounds: Sequence[float]) -> tuple[list[Count], str] | None:
    """Counts among the min(m, n) singular values; None if that takes too much."""
    if not bounds:
        return None
    ordered = sorted(set(bounds))
    known: dict[float, Count] = {}
    try:
        inertia = Inertia(operator, work=INERTIA_WORK / max(len(ordered), FEWEST))
        for bound in (ordered[0], ordered[-1]):
            known[bound] = _inertia_count(inertia, bound)
        _count_between(inertia, ordered, known)
    except (TooLargeError, UnsupportedLayerError):
        return None
    return [known[bound] for bound in bounds], "inertia of A Aᵀ − ε² I"


def _count_between(inertia: Inertia, ordered: Sequence[float], known: dict[float, Count]) -> None:
    """Adds the counts at the bounds between the first and the last, which are known, to the known ones."""
    if len(ordered) < 3:
        return
    first, last = known[ordered[0]], known[ordered[-1]]
    if first.low == last.high:
        # No singular value lies between them.
        known.update(dict.fromkeys(ordered[1:-1], _certain(last.high, last.high, last.high)))
        return
    middle = len(ordered) // 2
    known[ordered[middle]] = _inertia_count(inertia, ordered[middle])
    _count_between(inertia, ordered[: middle + 1], known)
    _count_between(inertia, ordered[middle:], known)


def _inertia_count(inertia: Inertia, bound: float) -> Count:
    if bound < inertia.resolution:
        high = inertia.count_near(inertia.resolution)[0]
        return _certain(inertia.zeros, high, high)
    with suppress(UnsupportedLayerError):
        count = inertia.count_below(bound)
        return _certain(count, count, count)
    for share in ASIDE:
        with suppress(UnsupportedLayerError):
            below = bound / (1 + share)
            low = inertia.count_below(below) if below >= inertia.resolution else inertia.zeros
            high = inertia.count_below(bound * (1 + share))
            return _certain(low, high, high)
    raise UnsupportedLayerError(f"singular values cannot be counted up to any bound near {bound:.6g}")


def _by_quadrature(
    operator: LinearMap, bounds: Sequence[float], seed: int, probes: tuple[int, int], steps: tuple[int, int]
) -> tuple[list[Count], str]:
    """Estimates among the min(m, n) singular values, within the bounds of the circulant embedding."""
    if not bounds:
        return [], "no direction is shown by more than ‖A‖"
    quadrature = Quadrature(operator, seed, probes, steps)
    circular = _by_symbol(operator, bounds)
    method = quadrature.method
    if circular is None:
        return [Count(*quadrature.up_to(bound), "estimated") for bound in bounds], method
    both = [_met(Count(*quadrature.up_to(bound), "estimated"), at) for bound, at in zip(bounds, circular, strict=True)]
    return both, f"{method}, and the symbol of a circulant embedding"


def _met(estimate: Count, certain: Count) -> Count:
    """The estimate within certain bounds; the best figure is that of the narrower of the two."""
    low, high = max(estimate.low, certain.low), min(estimate.high, certain.high)
    if low > high or (low, high) == (certain.low, certain.high):
        return certain
    narrower = estimate if estimate.high - estimate.low < certain.high - certain.low else certain
    return Count(low, min(max(narrower.best, low), high), high, "estimated")


def _by_symbol(operator: LinearMap, bounds: Sequence[float]) -> list[Count] | None:
    """Certain bounds on counts among the min(m, n) singular values of a convolution, from its circulant embedding."""
    found = symbol(operator)
    if found is None:
        return None
    size = min(operator.in_dim, operator.out_dim)
    rows = []
    for bound in bounds:
        low = max(size - found.above(bound * (1 - ROUNDING)), 0)
        high = min(size - found.above(bound * (1 + ROUNDING)) + found.boundary, size)
        likely = size - round(size * found.above(bound) / found.counts.sum())
        rows.append(_certain(low, min(max(likely, low), high), high))
    return rows


class Symbol(NamedTuple):
    """The singular values of the circular map that a convolution is a part of.

    Attributes:
        sigma: Values, descending, float64 ``(k,)``.
        counts: Multiplicity of each value, int64 ``(k,)``.
        boundary: Number of rows and columns of the circular map that are not the convolution's.
    """

    sigma: np.ndarray
    counts: np.ndarray
    boundary: int

    def above(self, bound: float) -> int:
        """The number of values above ``bound``."""
        return int(self.counts[self.sigma > bound].sum())


def symbol(operator: LinearMap) -> Symbol | None:
    """The symbol of a map's circulant embedding; None if it has none, or it would take too much memory."""
    if not embeds(operator):
        return None
    rows, columns = CirculantEmbedding.sides(operator)
    if 32 * rows * columns * CirculantEmbedding.size(operator) > SYMBOL_LIMIT:
        return None
    circular = CirculantEmbedding(operator)
    half = circular.grid[-1] // 2 + 1
    sigma = torch.linalg.svdvals(circular.symbol).numpy().reshape(-1, half, min(rows, columns))
    # Half of all frequencies along the last axis; the others are their conjugates.
    times = np.full((half, 1), 2)
    times[0] = 1
    if circular.grid[-1] % 2 == 0:
        times[-1] = 1
    order = np.argsort(-sigma, axis=None)
    counts = np.broadcast_to(times, sigma.shape).ravel()[order]
    boundary = (rows + columns) * int(np.prod(circular.grid)) - operator.in_dim - operator.out_dim
    return Symbol(sigma.ravel()[order], counts, boundary)
