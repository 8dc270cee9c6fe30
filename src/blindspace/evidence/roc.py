"""How well a score separates two sets of images: the receiver operating characteristic and the area under it.

The area is the Mann-Whitney statistic (Hanley and McNeil, The meaning and use of the area under a receiver operating
characteristic (ROC) curve, 1982).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor

from .._html import Shown
from ..errors import ValueRangeError

NUDGE = 1e-9
"""Relative distance from the measured area at which the search for the ends of its interval starts."""


@dataclass(frozen=True)
class Roc(Shown):
    """The receiver operating characteristic of a score that is to be higher on marked images than on clean ones.

    Attributes:
        false_positives: shares of clean images above each threshold, ascending from 0 to 1.
        true_positives: shares of marked images above the same thresholds.
        auc: area under the curve: probability that a marked image scores higher than a clean one, ties counted half.
        low: lower end of the 95 % confidence interval of the area.
        high: upper end of that interval.
        clean: number of clean images.
        marked: number of marked ones.
    """

    false_positives: tuple[float, ...]
    true_positives: tuple[float, ...]
    auc: float
    low: float
    high: float
    clean: int
    marked: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the curve."""
        return {"auc": self.auc, "low": self.low, "high": self.high, "clean": self.clean, "marked": self.marked}


def roc(clean: Tensor, marked: Tensor) -> Roc:
    """Compare the scores of clean and marked images.

    Args:
        clean: scores of clean images, ``(N,)``.
        marked: scores of marked images, ``(M,)``.

    Raises:
        ValueRangeError: one of them is empty, or a score is NaN.
    """
    if not len(clean) or not len(marked) or bool(clean.isnan().any()) or bool(marked.isnan().any()):
        raise ValueRangeError(f"a ROC curve needs scores of both kinds, none NaN; got {len(clean)} and {len(marked)}")
    thresholds = torch.cat([clean, marked]).unique()
    shares = []
    for scores in (clean, marked):
        above = len(scores) - torch.searchsorted(scores.sort().values, thresholds)
        shares.append((0.0, *(above.flip(0).double() / len(scores)).tolist()))
    wins = scipy.stats.mannwhitneyu(marked.cpu().numpy(), clean.cpu().numpy()).statistic
    auc = float(wins) / (len(clean) * len(marked))
    low, high = interval(auc, len(clean), len(marked))
    return Roc(shares[0], shares[1], auc, low, high, len(clean), len(marked))


def interval(auc: float, clean: int, marked: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the area: all θ no further from the measured area than z standard errors at θ.

    The standard error is that of Hanley and McNeil (1982) with the mean of the two sample sizes for both, taken at θ
    instead of at the measured area (Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic, part 2, 2006), so that an area of 1 has an interval too.

    Args:
        auc: measured area.
        clean: number of clean images.
        marked: number of marked images.
        confidence: level of the interval.

    Returns:
        Its lower and upper end.
    """
    z = float(scipy.stats.norm.ppf((1 + confidence) / 2))
    mean = (clean + marked) / 2

    def excess(theta: float) -> float:
        spread = 2 * mean - 1 - 3 * (mean - 1) / ((2 - theta) * (1 + theta))
        return float(abs(theta - auc) - z * np.sqrt(theta * (1 - theta) * spread / (clean * marked)))

    # The excess is negative at the measured area, except at 0 and 1, where the error vanishes: start beside them.
    low = 0.0 if auc == 0 else float(scipy.optimize.brentq(excess, 0, auc * (1 - NUDGE)))
    high = 1.0 if auc == 1 else float(scipy.optimize.brentq(excess, auc + (1 - auc) * NUDGE, 1))
    return low, high
