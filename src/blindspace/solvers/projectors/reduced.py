"""Solvers that leave the work to the solver of a simpler map."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...maps import LinearMap
from ..base import Solver
from ..rank.certificate import Certificate
from ..rank.kernel_reduction import Reduced


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

    The certificate is that of A': B changes the singular values, not the rank.

    Args:
        operator: The linear map A = B ∘ A' ∘ S.
        inner: The solver of A'.
        selection: The map S, which moves values or leaves some out; None for the identity.
        reason: What was removed.
    """

    def __init__(self, operator: LinearMap, inner: Solver, selection: LinearMap | None, reason: str) -> None:
        super().__init__(operator, inner, inner.certificate, reason)
        self.selection = selection

    def _project(self, x: Tensor) -> Tensor:
        if self.selection is None:
            return self.inner._project(x)
        read = self.selection._forward(x)
        return x - self.selection._adjoint(read - self.inner._project(read))


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
        return self.found.project(self.inner._project, x)


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
