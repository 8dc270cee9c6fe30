"""Conformal p-values and thresholds of a score against reference scores.

Vovk, Gammerman and Shafer, Algorithmic learning in a random world, 2005.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError


def p_values(scores: Tensor, reference: Tensor) -> Tensor:
    """(1 + number of reference scores as high) / (1 + N) of scores ``(B,)``; the reference is ascending, ``(N,)``.

    They bound the probability of a false alarm, whatever the distribution, for images drawn like the reference ones.
    """
    at_least = len(reference) - torch.searchsorted(reference, scores)
    return (1 + at_least.double()) / (1 + len(reference))


def threshold(reference: Tensor, false_positives: float) -> float:
    """The score above which an image's p-value is at most the given false-positive rate.

    Raises:
        ValueRangeError: The rate is not between 0 and 1, or the reference is too small for it.
    """
    check_rate(false_positives)
    allowed = int(false_positives * (1 + len(reference)) + 1e-9)
    if allowed < 1:
        raise ValueRangeError(
            f"{len(reference)} reference scores cannot support a false-positive rate of {false_positives:g}; "
            f"give more reference images or a rate of {1 / (1 + len(reference)):.2g} or more"
        )
    return float(reference[-allowed])


def check_rate(false_positives: object) -> None:
    """Refuse what is no false-positive rate.

    Raises:
        ValueRangeError: It is not a number between 0 and 1.
    """
    if not isinstance(false_positives, float) or not 0 < false_positives < 1:
        raise ValueRangeError(f"a false-positive rate lies between 0 and 1, got {false_positives}")
