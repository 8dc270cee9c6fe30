"""The condition of the theory, how far it is from being met, and the bounds on multipliers that it implies.

Kumano et al. 2024, theorem 3.1, after Frei et al. 2023: with R_min and R_max the least and largest norm of the samples
and p_max = max_{i≠k} |⟨x_i, x_k⟩|, if γ³ R_min⁴ / (3 N R_max²) > p_max, gradient flow reaches a network whose boundary
is that of q = Σ λ_n y_n x_n, with 1/(2 R_max²) < λ_n < 3/(2 γ² R_min²).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..errors import ShapeError
from .two_layer import slope_of


@dataclass(frozen=True)
class Condition:
    """Both sides of the condition.

    Attributes:
        left: γ³ R_min⁴ / (3 N R_max²).
        p_max: Largest absolute inner product of two samples.
        bounds: Bounds of the multipliers, which the condition implies.
    """

    left: float
    p_max: float
    bounds: tuple[float, float]

    @property
    def margin(self) -> float:
        """The left side over the right one: above 1 the condition holds, 1/150 is a violation by 150."""
        return self.left / self.p_max if self.p_max > 0 else inf

    @property
    def holds(self) -> bool:
        """Whether the theory guarantees the boundary."""
        return self.left > self.p_max

    def within(self, multipliers: Tensor) -> bool:
        """Whether all multipliers ``(N,)`` lie within the bounds."""
        low, high = self.bounds
        return bool(((multipliers > low) & (multipliers < high)).all())


def condition(x: Tensor, slope: float) -> Condition:
    """The condition of samples ``(N, *shape)`` for a slope γ in (0, 1].

    Raises:
        ShapeError: There is no sample, or one is 0.
        ValueRangeError: The slope is outside (0, 1].
    """
    slope = slope_of(slope)
    if x.ndim < 2 or not x.numel() or not bool(x.flatten(1).any(1).all()):
        raise ShapeError(f"the condition needs samples (N, d) of which none is 0, got {tuple(x.shape)}")
    products = x.detach().flatten(1).double()
    products = products @ products.T
    least, most = float(products.diagonal().min()), float(products.diagonal().max())
    apart = products.fill_diagonal_(0).abs()
    return Condition(
        slope**3 * least**2 / (3 * len(x) * most),
        float(torch.max(apart)),
        (1 / (2 * most), 3 / (2 * slope**2 * least)),
    )
