"""A basis of the nullspace that is made when the first large batch asks for it."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..base import Solver

BASIS_LIMIT = 64 << 20
"""Bytes that such a basis may take."""

SHARE = 16
"""A batch is large from one perturbation for so many dimensions."""


class OnDemandSolver(Solver):
    """Another solver's projector: set up as quickly, and applied to large batches as two products with a basis.

    Which of the two projects depends on the batch alone, so that results never depend on what was projected before.

    Args:
        inner: the solver that makes the basis and serves small batches; float64.
    """

    def __init__(self, inner: Solver) -> None:
        super().__init__(inner.operator)
        self.inner = inner
        self.name = inner.name
        self.certificate = inner.certificate
        self._large = max(-(-inner.dim // SHARE), 2)
        self.reason = f"{inner.reason}; batches of {self._large} and more by a basis, made for the first of them"

    def gram_inverse(self, b: Tensor) -> Tensor:
        """As of the inner solver."""
        return self.inner.gram_inverse(b)

    def _project(self, x: Tensor) -> Tensor:
        if len(x) < self._large:
            return self.inner._project(x)
        flat = x.flatten(1).to("cpu", torch.float64)
        return ((flat @ self._basis) @ self._basis.mT).reshape(x.shape).to(x)

    @cached_property
    def _basis(self) -> Tensor:
        """Orthonormal, ``(n, dim)``.

        The second round takes out what the first one's change of basis, ill-conditioned as it is, made of rounding.
        """
        operator = self.operator
        rows = torch.randn(
            self.dim, *operator.in_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        for _ in range(2):
            rows = _orthonormal(self.inner._project(rows).flatten(1)).reshape(rows.shape)
        return _orthonormal(rows.flatten(1)).T.contiguous()


def _orthonormal(rows: Tensor) -> Tensor:
    """Cholesky QR: products alone. It leaves cond² ε, which the next call mends."""
    factor = torch.linalg.cholesky(rows @ rows.mT)
    result: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
    return result


def pays(solver: Solver) -> bool:
    """Whether a basis of that solver's nullspace is small."""
    return 0 < 8 * solver.operator.in_dim * solver.dim <= BASIS_LIMIT
