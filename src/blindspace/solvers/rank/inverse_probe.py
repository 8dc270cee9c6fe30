"""What an inverse of A Aᵀ shows about the rank of A, if no factorisation proves it.

The smallest singular value is found by the Lanczos method on the inverse, with full orthogonalisation; Parlett, The
Symmetric Eigenvalue Problem, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...maps import LinearMap

INVERTED = 1e-5  # Largest relative error of A Aᵀ (A Aᵀ)⁻¹ b. One dependent row among a million would leave a thousandth
STEPS = 40  # Largest number of steps to find the smallest singular value
SETTLED = 0.002  # Share by which the estimate may still grow at the last step

EXHAUSTED = 1e-10
"""Share of the largest eigenvalue below which a new direction is rounding: the Krylov space is exhausted."""


def inverts(operator: LinearMap, inverse: Callable[[Tensor], Tensor], among: Tensor | None = None) -> bool:
    """Whether A Aᵀ recovers random values from its inverse.

    If rows depend on one another, a random b has a part outside the range of A Aᵀ, so no inverse recovers it.

    Args:
        operator: The linear map A.
        inverse: Applies (A Aᵀ)⁻¹ to ``(1, *out_shape)``, float64.
        among: The outputs among which b lies, bool ``out_shape``, if the rows of the others are zero; None for all.
    """
    b = torch.randn(1, *operator.out_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = b if among is None else b * among
    back = operator._forward(operator._adjoint(inverse(b)))
    return float((back - b).norm()) <= INVERTED * float(b.norm())


def smallest_sigma(operator: LinearMap, inverse: Callable[[Tensor], Tensor], steps: int = STEPS) -> float:
    """The smallest singular value of a map of full row rank, by Lanczos on (A Aᵀ)⁻¹; an upper bound.

    Args:
        operator: The linear map A.
        inverse: Applies (A Aᵀ)⁻¹ to ``(1, *out_shape)``, float64; three digits are enough.
        steps: Largest number of steps.
    """
    v = torch.randn(1, *operator.out_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    basis = [v / v.norm()]
    projected = torch.zeros(steps + 1, steps + 1, dtype=torch.float64)
    largest = 0.0
    for step in range(steps):
        w = inverse(basis[-1])
        for j, u in enumerate(basis):
            projected[j, step] = float((u * w).sum())
            w = w - projected[j, step] * u
        size = float(w.norm())
        symmetric = (projected + projected.T)[: step + 1, : step + 1] / 2
        before, largest = largest, float(torch.linalg.eigvalsh(symmetric)[-1])
        if largest - before < SETTLED * largest or size <= EXHAUSTED * largest:
            break
        projected[step + 1, step] = size
        basis.append(w / size)
    return float(max(largest, torch.finfo(v.dtype).tiny) ** -0.5)
