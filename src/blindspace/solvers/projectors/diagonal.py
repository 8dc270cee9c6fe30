"""Maps that only scale, drop or move values: the nullspace consists of the values that they do not read."""

from __future__ import annotations

import torch
from torch import Tensor

from ...maps import Diagonal, Gather, LinearMap, Padding, Rearrange
from ..base import Cost, Solver, register
from ..rank.certificate import Certificate


@register
class DiagonalSolver(Solver):
    """The solver of maps whose AᵀA is diagonal: scaling, padding, cropping, rearranging, selecting.

    Args:
        operator: A ``Diagonal``, ``Padding``, ``Rearrange`` or ``Gather``.
    """

    name = "diagonal"
    scope = "scaling, cropping, padding, rearranging"
    how = "value by value"

    def __init__(self, operator: LinearMap) -> None:
        super().__init__(operator)
        if isinstance(operator, Diagonal):
            squares = torch.broadcast_to(operator.weight, operator.in_shape) ** 2
        else:
            squares = operator.adjoint(torch.ones(1, *operator.out_shape, dtype=torch.float64))[0]
        self.free = squares == 0
        sigma = squares[~self.free].sqrt()
        self.certificate = Certificate(
            rank=len(sigma),
            kind="exact",
            method="AᵀA is diagonal",
            tolerance=0.0,
            sigma_max=float(sigma.max()) if len(sigma) else 0.0,
            sigma_above=float(sigma.min()) if len(sigma) else None,
            sigma_below=0.0 if bool(self.free.any()) else None,
        )
        self.reason = "it only scales, drops or moves values"

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map only scales, drops or moves values."""
        return isinstance(operator, Diagonal | Padding | Rearrange | Gather)

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """A mask of the input values."""
        return Cost(operator.in_dim, 10)

    def _project(self, x: Tensor) -> Tensor:
        return x * self.free.to(x.device, x.dtype)
