"""A preconditioner for composed maps, from the solvers of their factors.

For A = B ∘ R the inverse of A Aᵀ = B R Rᵀ Bᵀ would be B⁻ᵀ (R Rᵀ)⁻¹ B⁻¹ if B were invertible. With B⁺ = Bᵀ(B Bᵀ)⁻¹ in
its place, M⁻¹ = B⁺ᵀ (R Rᵀ)⁻¹ B⁺ is still symmetric and positive definite, and near: the two differ only in how R Rᵀ
couples what B reads with what it does not.
"""

from __future__ import annotations

from torch import Tensor

from ..base import Solver


class FactorPreconditioner:
    """B⁺ᵀ (R Rᵀ)⁻¹ B⁺, or the same with more factors: every (Bᵢ … B₁)(Bᵢ … B₁)ᵀ is inverted by the same formula.

    Args:
        inner: solver of the factor applied first.
        outer: solvers of the others, first applied first. All must offer ``gram_inverse``.
    """

    def __init__(self, inner: Solver, *outer: Solver) -> None:
        self.inner, self.outer = inner, outer

    def __call__(self, b: Tensor) -> Tensor:
        """M⁻¹ b.

        Args:
            b: ``(B, *out_shape)`` of the last factor, floating point.

        Returns:
            The same shape and dtype; the work is done in float64, as the solvers do theirs.

        Raises:
            UnsupportedLayerError: a factor's solver has no inverse to offer.
        """
        u = b.double()
        for solver in reversed(self.outer):
            u = solver.operator._adjoint(solver.gram_inverse(u))
        u = self.inner.gram_inverse(u)
        for solver in self.outer:
            u = solver.gram_inverse(solver.operator._forward(u))
        return u.to(b.dtype)
