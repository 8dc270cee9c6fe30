"""Soft blindness: beside what a map cannot see at all, how many directions it shows by less than ε.

The singular values of A that are at most ε, zeros included, are as many as the dimension of the largest subspace on
which ‖A δ‖ ≤ ε ‖δ‖ (Courant and Fischer). How they are counted is in ``solvers/counts.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np

from ..errors import ValueRangeError
from ..maps import LinearMap, isometry_free
from ..solvers.spectra.counting import Count, Kind, count_up_to, symbol
from ..solvers.spectra.lanczos_quadrature import Quadrature
from ..solvers.spectra.singular_values import singular_values

DECADES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Thresholds asked for where none are given, as shares of ‖A‖."""

EDGES = 0.1
"""Share of the singular values up to which those of the edges may be left out of a spectrum: the symbol on a torus then
speaks for all. It tells small ones apart, which random vectors do not."""


@dataclass(frozen=True)
class EpsilonNullity:
    """How many directions a map shows by at most ε per unit of perturbation.

    Attributes:
        thresholds: as they were given.
        relative: whether they are shares of ‖A‖.
        norm: ‖A‖, the largest singular value; where it comes from an iteration, to three digits at least.
        epsilons: the thresholds as absolute numbers.
        ambient_dim: n, the number of all directions.
        counts: of directions for each threshold, the best figure there is.
        low: of which there are at least so many …
        high: … and at most so many.
        kinds: of each count: ``exact`` where low = high for certain; ``bounded`` where both are certain, and rounding
            or the edges of the image decide between them; ``estimated`` where they are a 95 % interval from random
            vectors.
        method: how it was counted, in words.
    """

    thresholds: tuple[float, ...]
    relative: bool
    norm: float
    epsilons: tuple[float, ...]
    ambient_dim: int
    counts: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    kinds: tuple[Kind, ...]
    method: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON: one row a threshold."""
        columns = (self.thresholds, self.epsilons, self.counts, self.low, self.high, self.kinds)
        names = ("threshold", "epsilon", "count", "low", "high", "kind")
        return {
            "relative": self.relative,
            "norm": self.norm,
            "ambient_dim": self.ambient_dim,
            "method": self.method,
            "counts": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)],
        }


@dataclass(frozen=True)
class Spectrum:
    """The singular values of a map, largest first, as points of a curve.

    Attributes:
        ambient_dim: n; there are as many singular values as inputs, zeros included.
        positions: places from 1 to n, ascending; a value that stands there several times has its first and its last.
        sigma: the singular value at each.
        tolerance: values up to it cannot be told from 0.
        kind: ``exact`` (to rounding) or ``estimated`` (quantiles).
        method: how they were found.
    """

    ambient_dim: int
    positions: tuple[int, ...]
    sigma: tuple[float, ...]
    tolerance: float
    kind: Literal["exact", "estimated"]
    method: str

    @property
    def norm(self) -> float:
        """The largest of them."""
        return self.sigma[0]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def soft_dimension(
    operator: LinearMap, thresholds: Sequence[float] = DECADES, relative: bool = True, seed: int = 0
) -> EpsilonNullity:
    """How many directions move the output of a map by at most ε per unit of perturbation, for every ε of a list.

    Args:
        operator: A.
        thresholds: above 0, finite, in any order; at least one.
        relative: whether they are shares of ‖A‖ or absolute numbers.
        seed: of the random vectors, where the count is an estimate.

    Raises:
        ValueRangeError: there is no threshold, or one is not above 0 or not finite.
    """
    thresholds = tuple(float(threshold) for threshold in thresholds)
    if not thresholds or not all(isfinite(threshold) and threshold > 0 for threshold in thresholds):
        given = ", ".join(f"{threshold:g}" for threshold in thresholds) or "none"
        raise ValueRangeError(f"thresholds of soft blindness must be finite and above 0, such as 1e-3; given: {given}")
    values = singular_values(operator)
    norm = values.norm if values else operator.norm()
    epsilons = tuple(threshold * norm if relative else threshold for threshold in thresholds)
    # No direction is shown by more than ‖A‖: that needs no counting, which rounding could only spoil.
    asked = [e for t, e in zip(thresholds, epsilons, strict=True) if norm > 0 and not (relative and t >= 1)]
    found, method = count_up_to(operator, values, asked, seed)
    counted = dict(zip(asked, found, strict=True))
    every = Count(operator.in_dim, operator.in_dim, operator.in_dim, "exact")
    rows = [counted.get(epsilon, every) for epsilon in epsilons]
    return EpsilonNullity(
        thresholds,
        relative,
        norm,
        epsilons,
        operator.in_dim,
        counts=tuple(row.best for row in rows),
        low=tuple(row.low for row in rows),
        high=tuple(row.high for row in rows),
        kinds=tuple(row.kind for row in rows),
        method=method,
    )


def spectrum(operator: LinearMap, points: int = 512, seed: int = 0) -> Spectrum:
    """The singular values of a map, sorted, as points of a curve.

    Args:
        operator: A.
        points: how many quantiles there are to be, where there are more different values or they are estimates.
        seed: of the random vectors, where they are estimates.

    Raises:
        ValueRangeError: fewer than 2 points.
    """
    if points < 2:
        raise ValueRangeError(f"a spectrum needs at least 2 points, got {points}")
    values = singular_values(operator)
    if values is not None:
        ends = np.cumsum(values.counts)
        runs = np.stack([ends - values.counts + 1, ends], 1).ravel()
        positions = np.unique(runs if len(ends) <= points else _even(1, int(ends[-1]), points))
        sigma = values.sigma[np.searchsorted(ends, positions)]
        return Spectrum(operator.in_dim, _whole(positions), _real(sigma), values.tolerance, "exact", values.method)
    free = isometry_free(operator)
    inner, gain = free.operator, free.gain
    nodes, weights, method = _estimated(inner, seed)
    size = min(inner.in_dim, inner.out_dim)
    positions = _even(1, size, points)
    sigma = gain * np.interp(positions, np.cumsum(weights) - weights / 2, nodes)
    if size < operator.in_dim:
        positions, sigma = np.append(positions, [size + 1, operator.in_dim]), np.append(sigma, [0.0, 0.0])
    positions, first = np.unique(positions, return_index=True)
    tolerance = float(max(operator.in_dim, operator.out_dim) * np.finfo(np.float64).eps * sigma[0])
    return Spectrum(operator.in_dim, _whole(positions), _real(sigma[first]), tolerance, "estimated", method)


def _estimated(operator: LinearMap, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Values, descending, for how many of the min(m, n) singular values each stands, and how they were found."""
    found = symbol(operator)
    size = min(operator.in_dim, operator.out_dim)
    if found is not None and found.boundary <= EDGES * size:
        return found.sigma, found.counts * size / found.counts.sum(), "the symbol on a torus, edges left out"
    quadrature = Quadrature(operator, seed)
    return *quadrature.rule(), quadrature.method


def _even(first: int, last: int, points: int) -> np.ndarray:
    """Places from the first to the last, evenly spaced."""
    return np.unique(np.linspace(first, last, points).round().astype(np.int64))


def _whole(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _real(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
