"""Confidence intervals of 95 % for estimates from a number of images or draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, t
from torch import Tensor

LEVEL = 0.95

RESAMPLES = 1000
"""Number of bootstrap samples."""

Values = Tensor | Sequence[Tensor]
"""One value per image ``(N,)``, infinite where an attack failed; one such tensor per seed if there are several. Values
of several draws, such as of random subspaces, are ``(draws, N)``."""


def of_share(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a proportion ``count / of``, such as an accuracy; Wilson 1927."""
    interval = binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def of_mean(values: Tensor) -> tuple[float, float] | None:
    """Student's interval of the mean of independent values ``(N,)``; None for fewer than two."""
    n = values.numel()
    if n < 2:
        return None
    x = values.double().flatten()
    mean, half = float(x.mean()), float(t.ppf((1 + LEVEL) / 2, n - 1)) * float(x.std()) / sqrt(n)
    return mean - half, mean + half


@dataclass(frozen=True)
class Estimate:
    """An estimate with its interval.

    Attributes:
        value: The estimate; infinite if the median of norms is, because more than half of the attacks failed.
        interval: Its interval; None for fewer than two images.
    """

    value: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{self.value:.3g}" + (f" [{self.interval[0]:.3g}, {self.interval[1]:.3g}]" if self.interval else "")


def median(values: Values, seed: int = 0) -> Estimate:
    """The median over images, and over seeds if there are several, with a bootstrap interval.

    Args:
        values: As ``Values``.
        seed: Seed of the resampling.
    """
    return bootstrap(lambda x: float(np.median(x)), [values], seed)


def ratio_of_medians(above: Values, below: Values, seed: int = 0) -> Estimate:
    """The ratio of two medians over the same images, such as on/plain norms; resampled in pairs. As ``median``.

    Args:
        above: Values whose median is divided, as ``Values``.
        below: Values of the same images whose median it is divided by.
        seed: Seed of the resampling.
    """
    return bootstrap(lambda x, y: _ratio(float(np.median(x)), float(np.median(y))), [above, below], seed)


def over_random(ours: Values, random: Values, seed: int = 0) -> Estimate:
    """How a figure compares with random subspaces of equal dimension: the ratio of the medians over images and draws.

    Both the images and the draws are resampled, so that the interval holds what another set of random subspaces would
    change. This is the one figure that all experiments on manifolds state: 1 means that the manifold has no part in it.

    Args:
        ours: The figure of each image, ``(N,)`` per seed.
        random: The same in random subspaces, ``(draws, N)`` per seed.
        seed: Seed of the resampling.
    """
    return ratio_of_medians(ours, random, seed)


def bootstrap(statistic: Callable[..., float], groups: Sequence[Values], seed: int = 0) -> Estimate:
    """Estimate a statistic of paired groups of values, with a bootstrap interval (percentile method; Efron 1979).

    Seeds, images and draws are resampled with replacement; the groups share the seeds and the images. All seeds take
    the same images where they have equally many: test images are as a rule common to them (Owen 2007, the pigeonhole
    bootstrap).
    Resamples in which the statistic is undefined (∞/∞) count as 0 at the lower end and as ∞ at the upper one. Equal
    arguments give an equal result.

    Args:
        statistic: A number from one array of all values per group.
        groups: At least one group, as ``Values``; all have equally many seeds, and images in each.
        seed: Seed of the resampling.
    """
    by_seed = _by_seed(groups)
    value = statistic(*(_pooled([part[g] for part in by_seed]) for g in range(len(groups))))
    if min(part[0].shape[1] for part in by_seed) < 2:
        return Estimate(value, None)
    draw = np.random.default_rng(seed)
    found, most = np.empty(RESAMPLES), max(part[0].shape[1] for part in by_seed)
    for index in range(RESAMPLES):
        chosen = draw.integers(len(by_seed), size=len(by_seed))
        places = draw.random(most)
        resampled: list[list[NDArray[Any]]] = [[] for _ in groups]
        for part in (by_seed[i] for i in chosen):
            count = part[0].shape[1]
            images = (places[:count] * count).astype(int)
            for group, values in zip(resampled, part, strict=True):
                rows = draw.integers(len(values), size=len(values)) if len(values) > 1 else np.zeros(1, dtype=int)
                group.append(values[np.ix_(rows, images)])
        found[index] = statistic(*map(_pooled, resampled))
    tail = (1 - LEVEL) / 2
    # Without interpolation, which is undefined between a finite and an infinite value.
    low = np.quantile(np.where(np.isnan(found), 0.0, found), tail, method="lower")
    high = np.quantile(np.where(np.isnan(found), inf, found), 1 - tail, method="higher")
    return Estimate(value, (float(low), float(high)))


def _by_seed(groups: Sequence[Values]) -> list[list[NDArray[Any]]]:
    """For each seed the values of each group, ``(draws, N)``."""
    lists = [[group] if isinstance(group, Tensor) else list(group) for group in groups]
    parts = [[np.atleast_2d(x.detach().double().numpy()) for x in seeds] for seeds in zip(*lists, strict=True)]
    for part in parts:
        if len({values.shape[1] for values in part}) != 1 or not part[0].size:
            raise ValueError(f"paired values of different or of no images: {[values.shape for values in part]}")
        if any(np.isnan(values).any() for values in part):
            raise ValueError("a value is NaN; a failed attack counts as infinite")
    return parts


def _pooled(values: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([each.ravel() for each in values])


def _ratio(above: float, below: float) -> float:
    if isnan(above) or isnan(below) or (above == below and below in (0.0, inf)):
        return float("nan")
    return inf if below == 0 else above / below
