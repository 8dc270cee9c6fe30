"""Certificates of convolutions by small windows: the rank by a sweep, and bounds on the smallest singular value."""

from __future__ import annotations

from math import prod

import numpy as np

from ...maps import Convolution, LinearMap
from ...maps.linear_map import Adjoint
from ..fourier.circulant_embedding import norm_bound
from . import sigma_bounds, windows
from .certificate import MARGIN, Certificate
from .window_sweep import COLUMNS, WORK_LIMIT, determines

SHARP = 0.5
"""Share of the upper bound on the smallest singular value at which no better lower bound is sought."""

QUICK_COLUMNS, QUICK_WORK = 1200, 4e9
"""Columns and operations of an elimination that takes a second at most."""

METHOD = "elimination modulo a prime in"

FEW = 100
"""Channels up to which the bound on ‖A‖ that does not depend on the image is quicker than products with the map."""


def tall(operator: LinearMap) -> bool:
    """Whether a map that ``windows.serves`` accepts has enough outputs at each position to determine what it reads."""
    if not windows.serves(operator):
        return False
    if isinstance(operator, Adjoint):
        conv = operator.of
        assert isinstance(conv, Convolution)
        return len(conv.weight) <= conv.in_shape[0] * prod(conv.stride)
    assert isinstance(operator, Convolution)
    return len(operator.weight) >= operator.in_shape[0] * prod(map(min, operator.kernel, operator.stride))


def proof(operator: LinearMap, columns: int = QUICK_COLUMNS, work: float = QUICK_WORK) -> str | None:
    """The windows that prove that a map is injective on the values that it reads, in words; None if none do.

    Args:
        operator: A convolution, or the adjoint of one, that ``tall`` accepts.
        columns: Columns of the largest block that is eliminated.
        work: Floating-point operations that one elimination may take.
    """
    sides = determines(operator, columns, work)
    if sides is None:
        return None
    places = "inputs, of the adjoint" if isinstance(operator, Adjoint) else "outputs"
    return f"windows of up to {'×'.join(map(str, sides))} {places}"


def full_row_rank(operator: LinearMap) -> str | None:
    """How windows prove within a second that the rows of a map are independent; None if they do not."""
    if not tall(operator.T) or windows.windowed(operator.T).rank < operator.out_dim:
        return None
    found = proof(operator.T)
    return found and f"{METHOD} {found}"


def certificate(
    operator: LinearMap, columns: int = COLUMNS, work: float = WORK_LIMIT
) -> tuple[Certificate, str] | None:
    """The certificate of a convolution that determines what it reads, or whose rows are independent; and why, in words.

    Args:
        operator: The map; maps other than convolutions of one group with zeros outside the image give None.
        columns: Columns of the largest block that is eliminated.
        work: Floating-point operations that one elimination may take.

    Returns:
        None if windows of the sizes tried do not prove the rank.
    """
    if not isinstance(operator, Convolution):
        return None
    for side in filter(tall, (operator, operator.T)):
        proved = proof(side, columns, work)
        if proved is None:
            continue
        rank = windows.windowed(side).rank
        few = min(len(operator.weight), operator.in_shape[0] * prod(operator.stride)) <= FEW
        largest = norm_bound(operator) if few else operator.norm()
        tolerance = max(operator.shape) * float(np.finfo(np.float64).eps) * largest
        above = sigma_bounds.at_most(side)
        below = sigma_bounds.at_least(side, SHARP * above)
        bounded = below > MARGIN * tolerance
        found = Certificate(
            rank=rank,
            kind="exact",
            method=f"{METHOD} {proved}",
            tolerance=tolerance,
            sigma_max=largest,
            sigma_above=below if bounded else above,
            sigma_below=0.0 if rank < min(operator.shape) else None,
            sigma_above_is="≥" if bounded else "≤",
        )
        what = f"determine all {rank} values that they read" if side is operator else f"show {rank} independent rows"
        reason = f"{proved} {what}"
        return found, f"{reason}; the smallest σ is between {below:.3g} and {above:.3g}" if bounded else reason
    return None
