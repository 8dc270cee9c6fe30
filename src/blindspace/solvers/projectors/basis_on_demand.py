"""A basis of the nullspace that is made when the first large batch asks for it.

Known as a randomised range finder for the projector, orthonormalised by Cholesky QR; Halko, Martinsson & Tropp 2011.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..base import Solver
from ..dense_algebra.orthonormal_basis import cholesky_qr

BASIS_LIMIT = 64 << 20
"""Bytes that such a basis may take."""

SHARE = 16
"""Dimensions of the nullspace per perturbation from which a batch is large."""


class OnDemandSolver(Solver):
    """Another solver's projector: set up as quickly, and applied to large batches as two products with a basis.

    Which of the two projects depends on the batch alone, so that results never depend on what was projected before.

    Args:
        inner: The solver that makes the basis and serves small batches, in float64.
    """

    def __init__(self, inner: Solver) -> None:
        super().__init__(inner.operator)
        self.inner = inner
        self.name = inner.name
        self.certificate = inner.certificate
        self._large = max(-(-inner.dim // SHARE), 2)
        self.reason = f"{inner.reason}; batches of {self._large} and more by a basis, made for the first of them"

    @staticmethod
    def pays(solver: Solver) -> bool:
        """Whether a basis of a solver's nullspace is small."""
        return 0 < 8 * solver.operator.in_dim * solver.dim <= BASIS_LIMIT

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return self.inner.gram_inverse(b)

    def _project(self, x: Tensor) -> Tensor:
        if len(x) < self._large:
            return self.inner._project(x)
        flat = x.flatten(1).to("cpu", torch.float64)
        return ((flat @ self._basis) @ self._basis.mT).reshape(x.shape).to(x)

    @cached_property
    def _basis(self) -> Tensor:
        """An orthonormal basis ``(n, dim)``; the second round removes rounding that the first one amplified."""
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(self.dim, *self.operator.in_shape, generator=generator, dtype=torch.float64)
        for _ in range(2):
            rows = cholesky_qr(self.inner._project(rows).flatten(1)).reshape(rows.shape)
        return cholesky_qr(rows.flatten(1)).T.contiguous()
