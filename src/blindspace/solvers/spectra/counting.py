"""How many singular values of a map are at most ε, zeros included, by the best means there is.

- Where structure or size allow it, from all singular values (``values.py``).
- Where A Aᵀ can be factored block by block, by its inertia (``inertia.py``), one factorisation for every ε.
- Else they are estimated, with a 95 % interval, from random vectors (``quadrature.py``). For a convolution the symbol
  on a torus bounds the count besides: A is what is left of the circular map when the rows and columns of the edges are
  taken out, each of which moves the count by at most one (Cauchy's interlacing). The edges, and so the width of these
  bounds, grow as the perimeter of the image, the count as its area.
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
from ..fourier import circulant_embedding as torus
from ..rank.inertia import Inertia
from .lanczos_quadrature import Quadrature
from .singular_values import MATRIX_LIMIT, Values, matrix_bytes

Kind = Literal["exact", "bounded", "estimated"]

INERTIA_WORK = 4e11
"""Floating-point operations that all inertia counts together may take, a minute on one core if none can be spared."""

FEWEST = 6
"""For so many counts at least one alone must leave room."""

ASIDE = (1e-6, 1e-3, 0.1)
"""Where inertia fails at a bound, how far to either side of it, as a share, it is tried."""

SYMBOL_LIMIT = 512 << 20
"""Bytes that the symbol on a torus may take."""

ROUNDING = 1e-10
"""Share of ε by which a singular value of a symbol may be off."""


class Count(NamedTuple):
    """One count: bounds, the best figure and its kind."""

    low: int
    best: int
    high: int
    kind: Kind

    def raised(self, by: int) -> Count:
        """With so many directions more."""
        return Count(self.low + by, self.best + by, self.high + by, self.kind)


def counts(
    operator: LinearMap, values: Values | None, bounds: Sequence[float], seed: int = 0
) -> tuple[list[Count], str]:
    """Counts of a map's n singular values, zeros included, up to each of some bounds, and how they were counted.

    Args:
        operator: A, not zero.
        values: its singular values where ``singular_values`` knows them, else None.
        bounds: above 0; may be none.
        seed: of the random vectors, where counts are estimates.
    """
    if values is not None:
        return [_certain(*values.up_to(bound)) for bound in bounds], values.method
    free = isometry_free(operator)
    inner, gain = free.operator, free.gain
    scaled = [bound / gain for bound in bounds]
    found, method = _by_inertia(inner, scaled) or _by_quadrature(inner, scaled, seed)
    # Of n directions only min(m, n) have been counted among; the others are shown by nothing.
    return [count.raised(operator.in_dim - min(inner.in_dim, inner.out_dim)) for count in found], method


def _certain(low: int, best: int, high: int) -> Count:
    return Count(low, best, high, "exact" if low == high else "bounded")


def _by_inertia(operator: LinearMap, bounds: Sequence[float]) -> tuple[list[Count], str] | None:
    """Counts among the min(m, n) singular values; None where that takes too much."""
    if not bounds or matrix_bytes(operator) > MATRIX_LIMIT:
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
    """Adds the counts between the first bound and the last, which are known, to the known ones."""
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
        return _certain(inertia.dead, high, high)
    with suppress(UnsupportedLayerError):
        count = inertia.count_below(bound)
        return _certain(count, count, count)
    for share in ASIDE:
        with suppress(UnsupportedLayerError):
            below = bound / (1 + share)
            low = inertia.count_below(below) if below >= inertia.resolution else inertia.dead
            high = inertia.count_below(bound * (1 + share))
            return _certain(low, high, high)
    raise UnsupportedLayerError(f"no bound near {bound:.6g} can be counted up to")


def _by_quadrature(operator: LinearMap, bounds: Sequence[float], seed: int) -> tuple[list[Count], str]:
    """Estimates among the min(m, n) singular values, within what a torus allows."""
    if not bounds:
        return [], "no direction is shown by more than ‖A‖"
    quadrature = Quadrature(operator, seed)
    on_torus = _by_symbol(operator, bounds)
    method = quadrature.method
    if on_torus is None:
        return [Count(*quadrature.up_to(bound), "estimated") for bound in bounds], method
    both = [_met(Count(*quadrature.up_to(bound), "estimated"), at) for bound, at in zip(bounds, on_torus, strict=True)]
    return both, f"{method}, and the symbol on a torus"


def _met(estimate: Count, certain: Count) -> Count:
    """The estimate within bounds that are certain; the figure is that of the narrower of the two."""
    low, high = max(estimate.low, certain.low), min(estimate.high, certain.high)
    if low > high or (low, high) == (certain.low, certain.high):
        return certain
    narrower = estimate if estimate.high - estimate.low < certain.high - certain.low else certain
    return Count(low, min(max(narrower.best, low), high), high, "estimated")


def _by_symbol(operator: LinearMap, bounds: Sequence[float]) -> list[Count] | None:
    """Certain bounds of counts among the min(m, n) singular values of a convolution, and those of the circular one."""
    found = symbol(operator)
    if found is None:
        return None
    size = min(operator.in_dim, operator.out_dim)
    rows = []
    for bound in bounds:
        low = max(size - found.above(bound * (1 - ROUNDING)), 0)
        high = min(size - found.above(bound * (1 + ROUNDING)) + found.edges, size)
        likely = size - round(size * found.above(bound) / found.counts.sum())
        rows.append(_certain(low, min(max(likely, low), high), high))
    return rows


class Symbol(NamedTuple):
    """The singular values of the circular map that a convolution is a part of.

    Attributes:
        sigma: descending, float64 ``(k,)``.
        counts: how often each stands there, int64 ``(k,)``.
        edges: how many rows and columns of the circular map are not the convolution's.
    """

    sigma: np.ndarray
    counts: np.ndarray
    edges: int

    def above(self, bound: float) -> int:
        """How many lie above ``bound``."""
        return int(self.counts[self.sigma > bound].sum())


def symbol(operator: LinearMap) -> Symbol | None:
    """Singular values on a torus, one matrix a frequency; None where there is none, or it takes too much memory."""
    if not torus.serves(operator):
        return None
    rows, columns = torus.CirculantEmbedding.sides(operator)
    if 32 * rows * columns * torus.CirculantEmbedding.size(operator) > SYMBOL_LIMIT:
        return None
    circular = torus.CirculantEmbedding(operator)
    half = circular.grid[-1] // 2 + 1
    sigma = torch.linalg.svdvals(circular.symbol).numpy().reshape(-1, half, min(rows, columns))
    # Half of all frequencies along the last axis; the others are their conjugates.
    times = np.full((half, 1), 2)
    times[0] = 1
    if circular.grid[-1] % 2 == 0:
        times[-1] = 1
    order = np.argsort(-sigma, axis=None)
    counts = np.broadcast_to(times, sigma.shape).ravel()[order]
    edges = (rows + columns) * int(np.prod(circular.grid)) - operator.in_dim - operator.out_dim
    return Symbol(sigma.ravel()[order], counts, edges)
