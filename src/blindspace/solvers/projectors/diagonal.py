"""Maps that scale, drop or move values, whose nullspace is what they do not read; and those that subtract means."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Centring, Diagonal, LinearMap
from ...maps.properties import MOVES, column_norms
from ..base import Cost, Solver, register
from ..rank.certificate import Certificate


@register
class DiagonalSolver(Solver):
    """The solver of maps whose AᵀA is diagonal, and of ``Centring``, whose A Aᵀ is the identity.

    AᵀA is diagonal of ``Diagonal``, ``Padding``, ``Rearrange`` and ``Gather``.
    """

    name = "diagonal"
    scope = "scaling, cropping, padding, rearranging, subtracting means"
    how = "value by value"

    def __init__(self, operator: LinearMap) -> None:
        super().__init__(operator)
        if isinstance(operator, Centring):
            self.certificate = Certificate(operator.out_dim, "exact", "A Aᵀ = I", 0.0, 1.0, 1.0, None)
            self.reason = "it subtracts a mean"
            return
        norms = column_norms(operator)
        if norms is None:
            raise UnsupportedLayerError(f"the diagonal solver serves no {operator}, whose AᵀA is not diagonal")
        self.free = norms == 0
        sigma = norms[~self.free]
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
        """Whether the map only scales, drops or moves values, or subtracts a mean."""
        return isinstance(operator, (Diagonal, Centring, *MOVES))

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """A mask of the input values."""
        return Cost(operator.in_dim, 10)

    def _project(self, x: Tensor) -> Tensor:
        if isinstance(self.operator, Centring):
            return x - self.operator._adjoint(self.operator._forward(x))
        return x * self.free.to(x.device, x.dtype)

    def _diagonal(self) -> Tensor | None:
        return None if isinstance(self.operator, Centring) else self.free.double()

    def _gram_inverse(self, b: Tensor) -> Tensor:
        """A Aᵀ is diagonal if A has full row rank: each output is then another input value, times a number."""
        if isinstance(self.operator, Centring):
            return b
        if self.certificate.rank < self.operator.out_dim:
            rank = f"{self.certificate.rank} of {self.operator.out_dim}"
            raise UnsupportedLayerError(f"A Aᵀ of {self.operator} is singular: the rank is {rank}")
        return b / self.operator._forward(torch.ones(1, *self.operator.in_shape, dtype=b.dtype)) ** 2
