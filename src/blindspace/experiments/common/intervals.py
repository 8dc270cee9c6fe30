"""Intervals of 95 % for what a result estimates from some images or some draws."""

from __future__ import annotations

from math import sqrt

from scipy.stats import binomtest, t
from torch import Tensor

LEVEL = 0.95


def of_share(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share ``count / of``, as of images classified correctly.

    Raises:
        ValueError: ``of`` is 0, or ``count`` is not between.
    """
    interval = binomtest(count, of).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def of_mean(values: Tensor) -> tuple[float, float] | None:
    """Student's interval of the mean of independent values ``(N,)``; None of fewer than two."""
    n = values.numel()
    if n < 2:
        return None
    x = values.double().flatten()
    mean, half = float(x.mean()), float(t.ppf((1 + LEVEL) / 2, n - 1)) * float(x.std()) / sqrt(n)
    return mean - half, mean + half
