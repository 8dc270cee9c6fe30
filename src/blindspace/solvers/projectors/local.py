"""Convolutions that determine every value that they read: the nullspace consists of the values that they do not read.

Stems with more outputs than inputs per position are such, nearly all of them. That is proved by a few small windows,
whatever the size of the image; see ``rank/window_sweep.py``. The projector is a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap
from ..base import ON_REQUEST, Cost, Solver, register
from ..rank.window_certificate import certificate, tall

LARGE = 3000
"""Inputs from which a convolution is proved by windows; below, one factorisation of the whole matrix finds every σ."""


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
        found = certificate(operator) if self.serves(operator) else None
        if found is None:
            raise UnsupportedLayerError(f"small windows of {operator} do not determine the values that they read")
        self.certificate, self.reason = found
        read = torch.ones(1, dtype=torch.bool)
        for table, size in zip(operator.reads, operator.in_shape[1:], strict=True):
            read = read[..., None] & torch.isin(torch.arange(size), table)
        self.free = ~read[0].expand(operator.in_shape)

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a convolution of one group with zeros outside, with enough outputs at each position."""
        return isinstance(operator, Convolution) and tall(operator)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """A mask of the input values, and the elimination of a window; from ``LARGE`` on."""
        return Cost(operator.in_dim + (64 << 20), 45 if operator.in_dim > LARGE else ON_REQUEST)

    def _project(self, x: Tensor) -> Tensor:
        return x * self.free.to(x.device, x.dtype)

    def _diagonal(self) -> Tensor:
        return self.free.double()
