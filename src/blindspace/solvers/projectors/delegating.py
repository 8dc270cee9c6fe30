"""Solvers that leave the work to another solver, and a preconditioner from the solvers of factors."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import LinearMap
from ...maps.properties import positions
from ..base import Solver
from ..dense_algebra.orthonormal_basis import cholesky_qr
from ..rank.certificate import Certificate
from ..rank.kernel_reduction import Reduced

BASIS_LIMIT = 64 << 20  # Bytes that a basis for large batches may take
SHARE = 16  # Dimensions of the nullspace per perturbation from which a batch is large


class _Wrapping(Solver):
    """A solver that goes by the name of another one."""

    def __init__(self, operator: LinearMap, inner: Solver, certificate: Certificate, reason: str) -> None:
        super().__init__(operator)
        self.inner = inner
        self.name = inner.name
        self.certificate = certificate
        self.reason = "; ".join(part for part in (reason, inner.reason) if part)


class ReducedSolver(_Wrapping):
    """The solver of a simpler map: N(B A' S) = N(S) + Sᵀ N(A') for an injective B and S Sᵀ = 1.

    Args:
        operator: The linear map A = B ∘ A' ∘ S.
        inner: The solver of A'.
        selection: The map S, which moves values or leaves some out; None for the identity.
        certificate: The certificate of A.
        reason: What was removed.
    """

    def __init__(
        self, operator: LinearMap, inner: Solver, selection: LinearMap | None, certificate: Certificate, reason: str
    ) -> None:
        super().__init__(operator, inner, certificate, reason)
        self.selection = selection

    def _project(self, x: Tensor) -> Tensor:
        if self.selection is None:
            return self.inner.project(x)
        read = self.selection._forward(x)
        return x - self.selection._adjoint(read - self.inner.project(read))

    def _diagonal(self) -> Tensor | None:
        """1 − Sᵀ (1 − diag P') if S moves values; other maps S mix what the projector P' does to different ones."""
        inner = self.inner.diagonal()
        if inner is None or self.selection is None:
            return inner
        if positions(self.selection) is None:
            return None
        return 1 - self.selection._adjoint((1 - inner)[None])[0]


class StructuredSolver(_Wrapping):
    """A convolution whose kernels are dependent or read few directions of the channels, by a smaller convolution.

    Args:
        operator: The convolution.
        found: Its reduction by ``kernel_reduction.reduce``.
        inner: The solver of the reduced convolution.
    """

    def __init__(self, operator: LinearMap, found: Reduced, inner: Solver) -> None:
        super().__init__(operator, inner, found.certificate(inner.certificate), found.reason)
        self.found = found

    def _project(self, x: Tensor) -> Tensor:
        return self.found.project(self.inner.project, x)

    def _gram_inverse(self, b: Tensor) -> Tensor:
        """A Aᵀ = c² A' Q Qᵀ A'ᵀ = c² A' A'ᵀ, unless kernels depend on one another."""
        if self.certificate.rank < self.operator.out_dim:
            rank = f"{self.certificate.rank} of {self.operator.out_dim}"
            raise UnsupportedLayerError(f"A Aᵀ of {self.operator} is singular: the rank is {rank}")
        return self.inner.gram_inverse(b) / self.found.gain**2


class InjectiveSolver(_Wrapping):
    """The nullspace {0} of a map whose adjoint has full row rank.

    Args:
        operator: The linear map A.
        adjoint: The solver of Aᵀ, of rank ``operator.in_dim``.
    """

    def __init__(self, operator: LinearMap, adjoint: Solver) -> None:
        certificate = replace(adjoint.certificate, method=f"{adjoint.certificate.method}, of the adjoint")
        super().__init__(operator, adjoint, certificate, "its adjoint has full row rank")

    def _project(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class OnDemandSolver(_Wrapping):
    """Another solver's projector: set up as quickly, and applied to large batches as two products with a basis.

    Which of the two projects depends on the batch alone, so that results never depend on what was projected before.
    The basis is known as a randomised range finder with Cholesky QR; Halko, Martinsson & Tropp 2011.

    Args:
        inner: The solver that makes the basis and serves small batches, in float64.
    """

    def __init__(self, inner: Solver) -> None:
        super().__init__(inner.operator, inner, inner.certificate, "")
        self._large = max(-(-inner.dim // SHARE), 2)
        self.reason += f"; batches of {self._large} and more by a basis, made for the first of them"

    @staticmethod
    def pays(solver: Solver) -> bool:
        """Whether a basis of a solver's nullspace is small."""
        return 0 < 8 * solver.operator.in_dim * solver.dim <= BASIS_LIMIT

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return self.inner.gram_inverse(b)

    def rough_gram_inverse(self, b: Tensor) -> Tensor:
        """That of the solver that makes the basis."""
        return self.inner.rough_gram_inverse(b)

    def _project(self, x: Tensor) -> Tensor:
        if len(x) < self._large:
            return self.inner.project(x)
        flat = x.flatten(1).to("cpu", torch.float64)
        return ((flat @ self._basis) @ self._basis.mT).reshape(x.shape).to(x)

    def _diagonal(self) -> Tensor:
        return self._basis.square().sum(1)

    @cached_property
    def _basis(self) -> Tensor:
        """An orthonormal basis ``(n, dim)``; the second round removes rounding that the first one amplified."""
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(self.dim, *self.operator.in_shape, generator=generator, dtype=torch.float64)
        for _ in range(2):
            rows = cholesky_qr(self.inner.project(rows).flatten(1)).reshape(rows.shape)
        return cholesky_qr(rows.flatten(1)).T.contiguous()


class FactorPreconditioner:
    """A preconditioner for a composition, from the solvers of its factors.

    For A = B ∘ R the inverse of A Aᵀ = B R Rᵀ Bᵀ would be B⁻ᵀ (R Rᵀ)⁻¹ B⁻¹ if B were invertible. With B⁺ = Bᵀ(B Bᵀ)⁻¹
    in its place, M⁻¹ = B⁺ᵀ (R Rᵀ)⁻¹ B⁺ is still symmetric and positive definite, and near: the two differ only in how
    R Rᵀ couples what B reads with what it does not. With more factors, every (Bᵢ … B₁)(Bᵢ … B₁)ᵀ is inverted by that
    formula. Known as the BFBᵗ or least-squares commutator preconditioner of saddle-point problems; Elman 1999.

    Args:
        inner: Solver of the factor applied first.
        outer: Solvers of the other factors, in the order in which these are applied. All must have ``gram_inverse``.
    """

    def __init__(self, inner: Solver, *outer: Solver) -> None:
        self.inner, self.outer = inner, outer

    def __call__(self, b: Tensor) -> Tensor:
        """M⁻¹ b, ``(B, *out_shape)``, to a few digits, in the dtype of b."""
        u = b
        for solver in reversed(self.outer):
            u = solver.operator._adjoint(solver.rough_gram_inverse(u))
        u = self.inner.rough_gram_inverse(u)
        for solver in self.outer:
            u = solver.rough_gram_inverse(solver.operator._forward(u))
        return u
