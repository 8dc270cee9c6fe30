"""A preconditioner for composed maps, from the solvers of their factors.

For A = B ∘ R the inverse of A Aᵀ = B R Rᵀ Bᵀ would be B⁻ᵀ (R Rᵀ)⁻¹ B⁻¹ if B were invertible. With B⁺ = Bᵀ(B Bᵀ)⁻¹ in
its place, M⁻¹ = B⁺ᵀ (R Rᵀ)⁻¹ B⁺ is still symmetric and positive definite, and near: the two differ only in how R Rᵀ
couples what B reads with what it does not. Known as the BFBᵗ or least-squares commutator preconditioner of saddle-point
problems; Elman 1999.
"""

from __future__ import annotations

from torch import Tensor

from ..base import Solver


class FactorPreconditioner:
    """B⁺ᵀ (R Rᵀ)⁻¹ B⁺, or the same with more factors: every (Bᵢ … B₁)(Bᵢ … B₁)ᵀ is inverted by the same formula.

    Args:
        inner: Solver of the factor applied first.
        outer: Solvers of the other factors, in the order in which these are applied. All must have ``gram_inverse``.
    """

    def __init__(self, inner: Solver, *outer: Solver) -> None:
        self.inner, self.outer = inner, outer

    def __call__(self, b: Tensor) -> Tensor:
        """M⁻¹ b.

        Args:
            b: Values ``(B, *out_shape)`` of the last factor, floating point.

        Returns:
            The same shape and dtype; it is computed in float64, as the solvers compute.

        Raises:
            UnsupportedLayerError: The solver of a factor has no inverse of A Aᵀ.
        """
        u = b.double()
        for solver in reversed(self.outer):
            u = solver.operator._adjoint(solver.gram_inverse(u))
        u = self.inner.gram_inverse(u)
        for solver in self.outer:
            u = solver.gram_inverse(solver.operator._forward(u))
        return u.to(b.dtype)
