"""The network of the theory: one hidden layer of leaky ReLU, no biases, and a readout that is not trained.

Kumano et al. 2024, section 3; Frei et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, integer, real


@dataclass(frozen=True)
class TwoLayer:
    """f(x) = aᵀ φ(W x), with φ(z) = z for z > 0 and γ z otherwise.

    Attributes:
        weights: W, float64 ``(m, d)``.
        readout: a, float64 ``(m,)``: 1/√m for the first half of the neurons, −1/√m for the second.
        slope: γ, above 0 and at most 1.
    """

    weights: Tensor
    readout: Tensor
    slope: float

    @classmethod
    def of(cls, weights: Tensor, slope: float) -> TwoLayer:
        """The network with given weights ``(m, d)`` and the readout of the theory.

        Raises:
            ShapeError: The number m of neurons is odd, or the weights are no matrix.
            ValueRangeError: The slope is outside (0, 1].
        """
        if weights.ndim != 2 or len(weights) < 2 or len(weights) % 2:
            raise ShapeError(f"the weights must be a matrix with an even number of rows, got {tuple(weights.shape)}")
        half = len(weights) // 2
        signs = torch.cat([torch.ones(half), -torch.ones(half)]).to(weights.device, torch.float64)
        return cls(weights.double(), signs / sqrt(2 * half), slope_of(slope))

    @classmethod
    def random(
        cls, width: int, dim: int, slope: float, generator: torch.Generator, scale: float | None = None
    ) -> TwoLayer:
        """A network at random.

        Args:
            width: Number m of neurons, even.
            dim: Number d of inputs.
            slope: γ, in (0, 1].
            generator: Source of the weights.
            scale: Standard deviation of Gaussian weights; None takes the uniform ones of ``torch.nn.Linear``, ±1/√d.
        """
        shape = (integer(width, "the number of neurons", 2), integer(dim, "the number of inputs", 1))
        if scale is None:
            uniform = 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
            return cls.of(uniform / sqrt(dim), slope)
        gaussian = torch.randn(shape, generator=generator, dtype=torch.float64)
        return cls.of(real(scale, "the scale") * gaussian, slope)

    def to(self, device: torch.device | str) -> TwoLayer:
        """The network on a device."""
        return TwoLayer(self.weights.to(device), self.readout.to(device), self.slope)

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs ``(B,)`` for inputs ``(B, *shape)``; positive for class 1, negative for class 0 or −1."""
        hidden = x.flatten(1).to(self.weights.dtype) @ self.weights.T
        return torch.where(hidden > 0, hidden, self.slope * hidden) @ self.readout

    @property
    def direction(self) -> Tensor:
        """Wᵀ a, ``(d,)``: what the boundary is orthogonal to if all neurons with one sign of a coincide."""
        return self.readout @ self.weights


def slope_of(value: object) -> float:
    """A slope γ of leaky ReLU, in (0, 1].

    Raises:
        ValueRangeError: It is not.
    """
    slope = real(value, "the slope", 0.0, above=True)
    if slope > 1:
        raise ValueRangeError(f"the slope must be at most 1, got {slope:g}")
    return slope


def labelled(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Samples as float64 ``(N, d)`` and their labels −1 and 1 as float64 ``(N,)``.

    Raises:
        ShapeError: There is no sample, or not one label per sample.
        ValueRangeError: A label is neither −1 nor 1, or a sample is not finite.
    """
    if x.ndim < 2 or not x.numel() or y.shape != x.shape[:1]:
        raise ShapeError(f"samples (N, d) need labels (N,), got {tuple(x.shape)} and {tuple(y.shape)}")
    x, y = x.detach().flatten(1).double(), y.detach().double()
    if not bool((y.abs() == 1).all()):
        raise ValueRangeError("labels must be −1 or 1")
    if not bool(x.isfinite().all()):
        raise ValueRangeError("a sample is not finite")
    return x, y


def slopes(positive: Tensor, slope: float) -> Tensor:
    """φ′ in float64: 1 where ``positive``, the slope γ elsewhere."""
    return slope + (1 - slope) * positive.double()
