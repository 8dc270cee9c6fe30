"""Confidence intervals of 95 % for estimates from a number of images or draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, sqrt

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
    return bootstrap(lambda medians: medians[0], [values], seed)


def ratio_of_medians(above: Values, below: Values, seed: int = 0) -> Estimate:
    """The ratio of two medians over the same images, such as on/plain norms; resampled in pairs. As ``median``.

    Args:
        above: Values whose median is divided, as ``Values``.
        below: Values of the same images whose median it is divided by.
        seed: Seed of the resampling.
    """
    return bootstrap(lambda medians: medians[0] / medians[1], [above, below], seed)


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


def bootstrap(
    statistic: Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]], groups: Sequence[Values], seed: int = 0
) -> Estimate:
    """Estimate a function of the medians of paired groups of values, with an interval (percentile method; Efron 1979).

    Seeds, images and draws are resampled with replacement; the groups share the seeds and the images. All seeds take
    the same images where they have equally many: test images are as a rule common to them (Owen 2007, the pigeonhole
    bootstrap). Resamples in which the statistic is undefined (∞/∞) count as 0 at the lower end and as ∞ at the upper
    one. Equal arguments give an equal result.

    Args:
        statistic: From the medians of each group, ``(R,)``, to the statistic, ``(R,)``.
        groups: At least one group, as ``Values``; all have equally many seeds, and images in each.
        seed: Seed of the resampling.

    Raises:
        ValueError: The groups do not fit together, there is no image, or a value is NaN.
    """
    by_seed = _by_seed(groups)
    each = [_Group.of([part[index] for part in by_seed]) for index in range(len(groups))]
    counts = [part[0].shape[1] for part in by_seed]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic([group.medians(np.ones((1, len(group.values)))) for group in each])[0])
        if min(counts) < 2:
            return Estimate(value, None)
        draw, found, done = np.random.default_rng(seed), [], 0
        while done < RESAMPLES:
            size = min(RESAMPLES - done, max(1, BLOCK // max(len(group.values) for group in each)))
            seeds = _times(draw.random((size, len(counts))), len(counts))
            places = draw.random((size, max(counts)))
            images = [seeds[:, i, None] * _times(places[:, :n], n) for i, n in enumerate(counts)]
            found.append(statistic([group.medians(group.weights(images, draw)) for group in each]))
            done += size
    values, tail = np.concatenate(found), (1 - LEVEL) / 2
    # Without interpolation, which is undefined between a finite and an infinite value.
    low = np.quantile(np.where(np.isnan(values), 0.0, values), tail, method="lower")
    high = np.quantile(np.where(np.isnan(values), inf, values), 1 - tail, method="higher")
    return Estimate(value, (float(low), float(high)))


BLOCK = 2**21
"""Weights that are in memory at once."""


def _times(places: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """How often each of ``count`` things is drawn, ``(R, count)``, from uniform numbers ``(R, draws)``."""
    chosen = (places * count).astype(np.int64) + count * np.arange(len(places))[:, None]
    return np.bincount(chosen.ravel(), minlength=count * len(places)).reshape(len(places), count).astype(np.float64)


@dataclass(frozen=True)
class _Group:
    """All values of one group in ascending order.

    Attributes:
        values: The values, ``(M,)``.
        order: The place of each among all seeds', draws' and images', ``(M,)``.
        draws: Number of draws in each seed.
    """

    values: NDArray[np.float64]
    order: NDArray[np.int64]
    draws: list[int]

    @classmethod
    def of(cls, parts: list[NDArray[np.float64]]) -> _Group:
        flat = np.concatenate([part.ravel() for part in parts])
        order = flat.argsort(kind="stable")
        return cls(flat[order], order, [len(part) for part in parts])

    def weights(self, images: list[NDArray[np.float64]], draw: np.random.Generator) -> NDArray[np.float64]:
        """How often each value is drawn, ``(R, M)``, from how often each image is, ``(R, N)`` per seed."""
        found = []
        for times, count in zip(images, self.draws, strict=True):
            rows = _times(draw.random((len(times), count)), count) if count > 1 else np.ones((len(times), 1))
            found.append((rows[:, :, None] * times[:, None]).reshape(len(times), -1))
        return np.concatenate(found, 1)[:, self.order]

    def medians(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Medians of the values with weights ``(R, M)``; the mean of the two in the middle."""
        above = weights.cumsum(1)
        half = above[:, -1:] / 2
        lower, upper = (above < half).sum(1), (above <= half).sum(1)
        found: NDArray[np.float64] = (self.values[lower] + self.values[upper]) / 2
        return found


def _by_seed(groups: Sequence[Values]) -> list[list[NDArray[np.float64]]]:
    """For each seed the values of each group, ``(draws, N)``."""
    lists = [[group] if isinstance(group, Tensor) else list(group) for group in groups]
    parts = [[np.atleast_2d(x.detach().cpu().double().numpy()) for x in seeds] for seeds in zip(*lists, strict=True)]
    for part in parts:
        if len({values.shape[1] for values in part}) != 1 or not part[0].size:
            raise ValueError(f"paired values of different or of no images: {[values.shape for values in part]}")
        if any(np.isnan(values).any() for values in part):
            raise ValueError("a value is NaN; a failed attack counts as infinite")
    return parts
