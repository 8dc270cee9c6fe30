"""Solvers that hand the work to the solver of a simpler map."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...maps import LinearMap
from ..base import Solver
from ..rank.kernel_reduction import Reduced


class ReducedSolver(Solver):
    """The solver of a simpler map: N(B A' S) = N(S) + Sᵀ N(A') for an injective B and S Sᵀ = 1.

    Args:
        operator: A = B ∘ A' ∘ S.
        inner: solver of A'.
        selection: S, which moves values or leaves some out; None for the identity.
        reason: what was taken off.
    """

    def __init__(self, operator: LinearMap, inner: Solver, selection: LinearMap | None, reason: str) -> None:
        super().__init__(operator)
        self.inner = inner
        self.selection = selection
        self.name = inner.name
        # The rank is that of A'; so are the singular values, which B changes.
        self.certificate = inner.certificate
        self.reason = "; ".join(part for part in (reason, inner.reason) if part)

    def _project(self, x: Tensor) -> Tensor:
        if self.selection is None:
            return self.inner._project(x)
        read = self.selection._forward(x)
        return x - self.selection._adjoint(read - self.inner._project(read))


class StructuredSolver(Solver):
    """A convolution whose kernels are dependent or read few directions of the channels, by the solver of what is left.

    Args:
        operator: the convolution.
        found: what ``structure.reduce`` made of it.
        inner: solver of the reduced convolution.
    """

    def __init__(self, operator: LinearMap, found: Reduced, inner: Solver) -> None:
        super().__init__(operator)
        self.found, self.inner = found, inner
        self.name = inner.name
        self.certificate = found.certificate(inner.certificate)
        self.reason = f"{found.reason}; {inner.reason}"

    def _project(self, x: Tensor) -> Tensor:
        return self.found.project(self.inner._project, x)


class InjectiveSolver(Solver):
    """The nullspace {0} of a map whose adjoint has full row rank.

    Args:
        operator: A.
        adjoint: solver of Aᵀ, of rank ``map.in_dim``.
    """

    def __init__(self, operator: LinearMap, adjoint: Solver) -> None:
        super().__init__(operator)
        self.adjoint = adjoint
        self.name = adjoint.name
        self.certificate = replace(adjoint.certificate, method=f"{adjoint.certificate.method}, of the adjoint")
        self.reason = f"its adjoint has full row rank; {adjoint.reason}"

    def _project(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)
