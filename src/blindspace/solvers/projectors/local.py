"""Convolutions that determine every value that they read: the nullspace consists of the values that they do not read.

Stems with more outputs than inputs per position are such, nearly all of them. That is proved by a few small windows,
whatever the size of the image; see ``rank/window_sweep.py``. The projector is a mask.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap
from ..base import ON_REQUEST, Cost, Solver, register
from ..fourier.circulant_embedding import norm_bound
from ..rank import sigma_bounds
from ..rank.certificate import MARGIN, Certificate
from ..rank.window_sweep import determines

LARGE = 3000
"""Inputs from which a convolution is proved by windows; below, one factorisation of the whole matrix finds every σ."""

SHARP = 0.5
"""Share of the upper bound on the smallest singular value at which no better lower bound is sought."""


@register
class LocalSolver(Solver):
    """The solver of convolutions whose outputs in small windows determine what they read.

    Args:
        operator: A convolution of one group, with zeros outside the image.

    Raises:
        UnsupportedLayerError: Windows of moderate size do not show it.
    """

    name = "local"
    scope = "convolutions with at least as many outputs as inputs"
    how = "small windows determine every value read, by elimination modulo a prime"

    def __init__(self, operator: Convolution) -> None:
        super().__init__(operator)
        window = determines(operator)
        if window is None:
            raise UnsupportedLayerError(f"small windows of {operator} do not determine the values that they read")
        read = torch.ones(1, dtype=torch.bool)
        for table, size in zip(operator.reads, operator.in_shape[1:], strict=True):
            read = read[..., None] & torch.isin(torch.arange(size), table)
        self.free = ~read[0].expand(operator.in_shape)
        rank = operator.in_dim - int(self.free.sum())
        largest = norm_bound(operator)
        sides = "×".join(map(str, window))
        tolerance = max(operator.shape) * torch.finfo(torch.float64).eps * largest
        above = sigma_bounds.at_most(operator)
        below = sigma_bounds.at_least(operator, SHARP * above)
        bounded = below > MARGIN * tolerance
        self.certificate = Certificate(
            rank=rank,
            kind="exact",
            method=f"elimination modulo a prime in windows of up to {sides} outputs",
            tolerance=tolerance,
            sigma_max=largest,
            sigma_above=below if bounded else above,
            sigma_below=0.0 if rank < operator.in_dim else None,
            sigma_above_is="≥" if bounded else "≤",
        )
        self.reason = f"windows of up to {sides} outputs determine all {rank} values that they read"
        if bounded:
            self.reason += f"; the smallest σ is between {below:.3g} and {above:.3g}"

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a convolution of one group with zeros outside, with enough outputs at each position."""
        return (
            isinstance(operator, Convolution)
            and operator.groups == 1
            and (operator.mode == "zeros" or not any(n for pair in operator.padding for n in pair))
            and len(operator.weight) >= operator.in_shape[0] * prod(map(min, operator.kernel, operator.stride))
        )

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """A mask of the input values, and the elimination of a window; from ``LARGE`` on."""
        return Cost(operator.in_dim + (64 << 20), 45 if operator.in_dim > LARGE else ON_REQUEST)

    def _project(self, x: Tensor) -> Tensor:
        return x * self.free.to(x.device, x.dtype)

    def _diagonal(self) -> Tensor:
        return self.free.double()
