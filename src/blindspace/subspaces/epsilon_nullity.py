"""Known as ε-nullity or numerical nullity: the number of singular values of a map up to ε, zeros included.

It equals the dimension of the largest subspace on which ‖A δ‖ ≤ ε ‖δ‖ (Courant-Fischer theorem; Golub & Van Loan 2013,
section 5.5). The methods of counting are in ``solvers/spectra/counting.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from .._html import Shown
from ..errors import ValueRangeError, integer, real, seed_of, shown
from ..maps import LinearMap, Operator, as_linear_map, isometry_free
from ..solvers.spectra.counting import Count, Kind, count_up_to, symbol
from ..solvers.spectra.lanczos_quadrature import PROBES, STEPS, Quadrature
from ..solvers.spectra.singular_values import MATRIX_LIMIT, singular_values

DECADES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Default thresholds, as shares of ‖A‖."""

BOUNDARY = 0.1
"""Largest share of boundary rows and columns for which the symbol of the circulant embedding stands for a spectrum.

It resolves small singular values, which random vectors do not."""


@dataclass(frozen=True)
class EpsilonNullity(Shown):
    """The number of directions along which a map's output changes by at most ε per unit of perturbation.

    Attributes:
        thresholds: The thresholds as they were given.
        relative: Whether the thresholds are shares of ‖A‖.
        norm: ‖A‖, the largest singular value, to at least three digits if it comes from an iteration.
        epsilons: The thresholds as absolute numbers ε.
        ambient_dim: Dimension n of the input.
        counts: Best figure for the number of singular values up to each ε.
        low: Lower bounds on these numbers.
        high: Upper bounds on these numbers.
        kinds: Kind of each number: ``exact`` if low = high with certainty; ``bounded`` if both bounds are certain, and
            rounding or the image's boundary decides between them; ``estimated`` if they are a 95 % confidence interval
            from random vectors.
        method: Method of counting, in words.
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
        """Return plain values for JSON, one row per threshold."""
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
class Spectrum(Shown):
    """The singular values of a map in descending order, as points of a curve.

    Attributes:
        ambient_dim: Dimension n of the input, the number of singular values, zeros included.
        positions: Positions from 1 to n in ascending order; a repeated value has its first and its last.
        sigma: Singular value at each position.
        tolerance: Value up to which a singular value is indistinguishable from 0.
        kind: ``exact`` (to rounding) or ``estimated`` (quantiles).
        method: Method in words.
    """

    ambient_dim: int
    positions: tuple[int, ...]
    sigma: tuple[float, ...]
    tolerance: float
    kind: Literal["exact", "estimated"]
    method: str

    @property
    def norm(self) -> float:
        """The largest singular value."""
        return self.sigma[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def soft_dimension(
    operator: Operator,
    input_shape: Sequence[int] | None = None,
    thresholds: Sequence[float] = DECADES,
    relative: bool = True,
    seed: int = 0,
    *,
    estimate: bool = False,
    probes: tuple[int, int] = PROBES,
    steps: tuple[int, int] = STEPS,
) -> EpsilonNullity:
    """Compute the ε-nullity of a linear map A for each ε of a list: the number of its singular values up to ε.

    Args:
        operator: The map, or whatever ``nullspace`` takes.
        input_shape: Shape of one input of a module, without the batch axis.
        thresholds: The values of ε, above 0 and finite, in any order; at least one.
        relative: Whether the thresholds are shares of ‖A‖ or absolute numbers.
        seed: Seed of the random vectors, if the numbers are estimates.
        estimate: Whether the numbers are estimated even if they could be computed.
        probes: Smallest and largest number of random vectors of an estimate.
        steps: Smallest and largest number of Lanczos steps of an estimate.

    Raises:
        ValueRangeError: There is no threshold, or one is not above 0 or not finite.
        BlindspaceError: As ``nullspace``.

    Examples:
        >>> import torch, blindspace as bs
        >>> layer = torch.nn.Linear(3, 3)
        >>> layer.weight.data = torch.diag(torch.tensor([1.0, 0.1, 0.001]))
        >>> bs.soft_dimension(layer, (3,), thresholds=[0.01, 0.5]).counts
        (1, 2)
    """
    operator, seed = as_linear_map(operator, input_shape), seed_of(seed)
    thresholds = _thresholds(thresholds)
    values = None if estimate else singular_values(operator)
    norm = values.norm if values else operator.norm()
    epsilons = tuple(threshold * norm if relative else threshold for threshold in thresholds)
    # No singular value exceeds ‖A‖: that needs no counting, which rounding could only spoil.
    asked = [e for t, e in zip(thresholds, epsilons, strict=True) if norm > 0 and not (relative and t >= 1)]
    found, method = count_up_to(operator, values, asked, seed, 0 if estimate else MATRIX_LIMIT, probes, steps)
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


def spectrum(
    operator: Operator,
    input_shape: Sequence[int] | None = None,
    points: int = 512,
    seed: int = 0,
    *,
    estimate: bool = False,
    boundary: float = BOUNDARY,
) -> Spectrum:
    """Compute the singular values of a linear map in descending order, as points of a curve.

    Args:
        operator: The map, or whatever ``nullspace`` takes.
        input_shape: Shape of one input of a module, without the batch axis.
        points: Number of quantiles, if there are more distinct values or if they are estimates; at least 2.
        seed: Seed of the random vectors, if the values are estimates.
        estimate: Whether the values are estimated even if they could be computed.
        boundary: Largest share of boundary rows and columns for which the symbol of the circulant embedding is taken
            as an estimate of all singular values.

    Raises:
        ValueRangeError: ``points`` is below 2.
        BlindspaceError: As ``nullspace``.

    Examples:
        >>> import torch, blindspace as bs
        >>> found = bs.spectrum(torch.nn.Linear(6, 4), (6,))
        >>> found.ambient_dim, found.kind
        (6, 'exact')
    """
    operator, points = as_linear_map(operator, input_shape), integer(points, "the number of points of a spectrum", 2)
    seed = seed_of(seed)
    values = None if estimate else singular_values(operator)
    if values is not None:
        ends = np.cumsum(values.counts)
        runs = np.stack([ends - values.counts + 1, ends], 1).ravel()
        positions = np.unique(runs if len(ends) <= points else _even(1, int(ends[-1]), points))
        sigma = values.sigma[np.searchsorted(ends, positions)]
        at, sigma_at = positions.tolist(), sigma.tolist()
        return Spectrum(operator.in_dim, tuple(at), tuple(sigma_at), values.tolerance, "exact", values.method)
    free = isometry_free(operator)
    nodes, weights, method = _estimated(free.operator, seed, boundary)
    size = min(free.operator.in_dim, free.operator.out_dim)
    positions = _even(1, size, points)
    sigma = free.gain * np.interp(positions, np.cumsum(weights) - weights / 2, nodes)
    if size < operator.in_dim:
        positions, sigma = np.append(positions, [size + 1, operator.in_dim]), np.append(sigma, [0.0, 0.0])
    positions, first = np.unique(positions, return_index=True)
    tolerance = float(max(operator.in_dim, operator.out_dim) * np.finfo(np.float64).eps * sigma[0])
    at, sigma_at = positions.tolist(), sigma[first].tolist()
    return Spectrum(operator.in_dim, tuple(at), tuple(sigma_at), tolerance, "estimated", method)


def _estimated(operator: LinearMap, seed: int, boundary: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Estimate the min(m, n) singular values: descending values, the number each stands for, and the method."""
    found = symbol(operator)
    size = min(operator.in_dim, operator.out_dim)
    if found is not None and found.boundary <= boundary * size:
        return found.sigma, found.counts * size / found.counts.sum(), "symbol of the circulant embedding, no boundary"
    quadrature = Quadrature(operator, seed)
    return *quadrature.rule(), quadrature.method


def _thresholds(given: Sequence[float]) -> tuple[float, ...]:
    try:
        found = tuple(real(threshold, "a threshold", above=True) for threshold in given)
    except (TypeError, ValueRangeError):
        found = ()
    if not found:
        raise ValueRangeError(
            f"thresholds must be numbers finite and above 0, such as [1e-3, 1e-2], got {shown(given)}"
        )
    return found


def _even(first: int, last: int, points: int) -> np.ndarray:
    """Round evenly spaced positions from the first to the last."""
    return np.unique(np.linspace(first, last, points).round().astype(np.int64))
