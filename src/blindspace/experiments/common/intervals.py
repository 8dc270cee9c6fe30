"""Confidence intervals of 95 % for estimates from a number of images or draws."""

from __future__ import annotations

from math import sqrt

from scipy.stats import binomtest, t
from torch import Tensor

LEVEL = 0.95


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
