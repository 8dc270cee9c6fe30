"""How well a score tells two sets of images apart: the ROC curve and the area under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor

from ..errors import ValueRangeError

BESIDE = 1e-9


@dataclass(frozen=True)
class Roc:
    """The receiver operating characteristic of a score that is to be higher on marked images than on clean ones.

    Attributes:
        false_positives: shares of clean images above each threshold, rising from 0 to 1.
        true_positives: shares of marked ones, as those.
        auc: area under the curve: how often a marked image scores higher than a clean one, ties counted half.
        low: lower end of its 95 % interval.
        high: upper end.
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
        """As plain values for JSON, without the curve."""
        return {"auc": self.auc, "low": self.low, "high": self.high, "clean": self.clean, "marked": self.marked}


def roc(clean: Tensor, marked: Tensor) -> Roc:
    """Compare the scores of clean and marked images.

    Args:
        clean: ``(N,)``.
        marked: ``(M,)``.

    Raises:
        ValueRangeError: there is none of either, or a score is NaN.
    """
    if not len(clean) or not len(marked) or bool(clean.isnan().any()) or bool(marked.isnan().any()):
        raise ValueRangeError(f"a ROC curve needs scores of both kinds, none NaN; got {len(clean)} and {len(marked)}")
    thresholds = torch.cat([clean, marked]).unique()
    shares = []
    for scores in (clean, marked):
        above = len(scores) - torch.searchsorted(scores.sort().values, thresholds)
        shares.append((0.0, *(above.flip(0).double() / len(scores)).tolist()))
    wins = scipy.stats.mannwhitneyu(marked.numpy(), clean.numpy()).statistic
    auc = float(wins) / (len(clean) * len(marked))
    low, high = interval(auc, len(clean), len(marked))
    return Roc(shares[0], shares[1], auc, low, high, len(clean), len(marked))


def interval(auc: float, clean: int, marked: int, confidence: float = 0.95) -> tuple[float, float]:
    """All areas θ that lie no further from the one found than z standard errors at θ.

    The standard error is Hanley and McNeil's (The meaning and use of the area under a ROC curve, 1982) with the mean of
    the two numbers for both; at θ instead of at the area found (Newcombe, Confidence intervals for an effect size
    measure based on the Mann-Whitney statistic, part 2, 2006), so that an area of 1 has an interval too.
    """
    z = float(scipy.stats.norm.ppf((1 + confidence) / 2))
    mean = (clean + marked) / 2

    def excess(theta: float) -> float:
        spread = 2 * mean - 1 - 3 * (mean - 1) / ((2 - theta) * (1 + theta))
        return float(abs(theta - auc) - z * np.sqrt(theta * (1 - theta) * spread / (clean * marked)))

    # The area found is within no standard errors of itself; at 0 and 1, where there are none, start a little beside it.
    low = 0.0 if auc == 0 else float(scipy.optimize.brentq(excess, 0, auc * (1 - BESIDE)))
    high = 1.0 if auc == 1 else float(scipy.optimize.brentq(excess, auc + (1 - auc) * BESIDE, 1))
    return low, high
