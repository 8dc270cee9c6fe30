"""The contract of every solver on floor 2: it knows a map's rank and projects onto its nullspace."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from ..maps import LinearMap
from .rank.certificate import Certificate


class Solver(ABC):
    """Applies P = I − A⁺A, the orthogonal projector onto the nullspace of a map.

    Attributes:
        operator: A.
        certificate: of its rank.
        reason: why this solver serves it, one line for the audit.
    """

    name: str
    operator: LinearMap
    certificate: Certificate
    reason: str = ""

    def __init__(self, operator: LinearMap) -> None:
        self.operator = operator

    @abstractmethod
    def _project(self, x: Tensor) -> Tensor: ...

    def project(self, x: Tensor) -> Tensor:
        """P x.

        Args:
            x: ``(B, *in_shape)``, floating point. Half precision is worked on in float32.

        Returns:
            The same shape, dtype and device.
        """
        if x.dtype in (torch.float16, torch.bfloat16):
            return self._project(x.float()).to(x.dtype)
        return self._project(x)

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, where A has full row rank and the solver can say so; a preconditioner may approximate it.

        Args:
            b: ``(B, *out_shape)``, float64.

        Returns:
            The same shape.

        Raises:
            UnsupportedLayerError: the solver has no such inverse to offer.
        """
        raise UnsupportedLayerError(f"the {self.name} solver of {self.operator} has no inverse of A Aᵀ to offer")

    @property
    def dim(self) -> int:
        """Dimension of the nullspace."""
        return self.operator.in_dim - self.certificate.rank
