"""Wide two-layer networks and the direction that theory predicts for their adversarial perturbations.

The networks of Kumano, Kera and Yamasaki 2024 (arXiv 2410.23677): weights and biases of the hidden layer are trained,
the readout is drawn at random for each network and stays as it is. In the limit of infinite width a network that is
trained by the loss −y f(x) moves along Σ_n y_n Φ(x, x_n) (⟨x, x_n⟩ + 1), so that its gradient at x points along
Σ_n y_n Φ(x, x_n) x_n, a weighted sum of training samples, wherever what training has added outweighs what the random
start was. Φ is the kernel of the derivatives of the activation, which is known in closed form (Cho and Saul 2009).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, ValueRangeError, integer, real, shown
from ..progress import Progress

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.ones_like,
    "logistic": lambda margins: torch.sigmoid(-margins),
    "exponential": lambda margins: torch.exp(-margins),
}
"""Losses ℓ(y f(x)) by name, each as its negative derivative at the margins y f(x): −z, log(1 + exp(−z)), exp(−z)."""

BLOCK = 2**22
"""Entries of the kernel that are in memory at once."""


@dataclass(frozen=True)
class WideNetwork:
    """f(x) = Σ_j a_j φ(⟨w_j, x⟩ + b_j) with a leaky ReLU φ.

    Attributes:
        weight: w, floating point ``(m, d)``.
        bias: b, ``(m,)``.
        readout: a, ``(m,)``; training leaves it as it is.
        slope: Slope of φ for negative values, in [0, 1].
    """

    weight: Tensor
    bias: Tensor
    readout: Tensor
    slope: float = 0.0

    @classmethod
    def random(
        cls, d: int, m: int, generator: torch.Generator, slope: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> Self:
        """A network with weights N(0, 1/d), biases N(0, 1) and a readout N(0, 1/m) of its own.

        Args:
            d: Dimension of the samples.
            m: Number of hidden neurons.
            generator: Source of the randomness.
            slope: Slope of the leaky ReLU for negative values, in [0, 1]; 0 is the ReLU.
            dtype: Floating dtype of the parameters.

        Raises:
            ValueRangeError: A number is outside its range.
        """
        d, m = integer(d, "the dimension d", 1), integer(m, "the width m", 1)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        weight, bias, readout = normal(m, d) / d**0.5, normal(m), normal(m) / m**0.5
        return cls(weight.to(dtype), bias.to(dtype), readout.to(dtype), _slope(slope))

    def to(self, device: torch.device | str) -> Self:
        """The network on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("weight", "bias", "readout")})

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs for samples ``(B, d)``, ``(B,)``; their sign is the predicted class."""
        return F.leaky_relu(self._before(x), self.slope) @ self.readout

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients of the outputs at samples ``(B, d)``, of the same shape."""
        return (self._derivative(self._before(x)) * self.readout) @ self.weight

    def _before(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, self._samples(x), self.weight.T)

    def _derivative(self, before: Tensor) -> Tensor:
        # The derivative at 0 is that of negative values, as torch has it.
        return (before > 0).to(before.dtype).mul_(1 - self.slope).add_(self.slope)

    def _samples(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.weight.shape[1]:
            raise ShapeError(f"a network of dimension {self.weight.shape[1]} reads (B, d), got {tuple(x.shape)}")
        return x.to(self.weight.dtype)

    def trained(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        learning_rate: float,
        loss: str = "identity",
        momentum: float = 0.9,
        progress: Progress | None = None,
    ) -> Self:
        """The network after steps of full-batch gradient descent on the mean loss; the readout is not trained.

        Args:
            x: Samples ``(N, d)``.
            y: Labels ±1, ``(N,)``.
            steps: Number of steps; 0 returns the network as it is.
            learning_rate: Length of a step, constant throughout.
            loss: One of ``LOSSES``.
            momentum: Share of the last step that the next one repeats, in [0, 1).
            progress: Called after every step.

        Raises:
            ShapeError: Samples and labels do not fit.
            UnknownNameError: There is no such loss.
            ValueRangeError: A number is outside its range, or training diverged.
        """
        if loss not in LOSSES:
            raise UnknownNameError(f"unknown loss {shown(loss)}; there are {', '.join(LOSSES)}")
        steps, rate = integer(steps, "the number of steps", 0), real(learning_rate, "the learning rate")
        momentum = _below_one(momentum, "the momentum")
        x, y = self._samples(x), _labels(x, y).to(self.weight.dtype)
        weight, bias = self.weight.clone(), self.bias.clone()
        moved, shifted = torch.zeros_like(weight), torch.zeros_like(bias)
        slope, pull = self.slope, LOSSES[loss]
        for step in range(steps):
            before = torch.addmm(bias, x, weight.T)
            on = self._derivative(before)
            # φ(z) = φ'(z) z for a leaky ReLU.
            outputs = (before.mul_(on)) @ self.readout
            along = on.mul_(self.readout).mul_((y * pull(y * outputs) / len(y))[:, None])
            moved.mul_(momentum).addmm_(along.T, x)
            shifted.mul_(momentum).add_(along.sum(0))
            weight.add_(moved, alpha=rate)
            bias.add_(shifted, alpha=rate)
            if progress:
                progress(step + 1, steps, f"step {step + 1} of {steps}")
        if not bool(weight.isfinite().all() and bias.isfinite().all()):
            raise ValueRangeError(
                f"training by the {loss} loss with learning rate {rate:g} diverged; give a smaller one"
            )
        return type(self)(weight, bias, self.readout, slope)

    def perturbations(self, x: Tensor, targets: Tensor, eps: float) -> Tensor:
        """One step of length ``eps`` along the gradient towards the target, not confined to any range.

        Args:
            x: Samples ``(N, d)``.
            targets: Labels ±1 that the network shall see, ``(N,)``.
            eps: L2 norm of the perturbations.

        Returns:
            ``(N, d)``; 0 where the gradient vanishes.
        """
        towards = F.normalize(self.gradient(x), dim=1)
        return real(eps, "eps") * _labels(x, targets).to(towards)[:, None] * towards


def derivative_kernel(x: Tensor, z: Tensor, slope: float = 0.0) -> Tensor:
    """Φ(x, z) = E[φ'(⟨v, x⟩ + b) φ'(⟨v, z⟩ + b)] for v ~ N(0, I/d) and b ~ N(0, 1), in closed form.

    With the angle θ between (x/√d, 1) and (z/√d, 1), both have one sign with probability 1 − θ/π: the arc-cosine kernel
    of degree 0 for slope 0 (Cho and Saul 2009, equation 6).

    Args:
        x: ``(B, d)``.
        z: ``(N, d)``.
        slope: Slope of the leaky ReLU for negative values, in [0, 1].

    Returns:
        float64 ``(B, N)``, between ``slope`` and (1 + slope²)/2.

    Raises:
        ShapeError: Samples of different dimension.
        ValueRangeError: ``slope`` is outside its range.
    """
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1]:
        raise ShapeError(f"the kernel compares (B, d) with (N, d), got {tuple(x.shape)} and {tuple(z.shape)}")
    slope = _slope(slope)
    u, v = (F.normalize(F.pad(each.double() / each.shape[1] ** 0.5, (0, 1), value=1.0), dim=1) for each in (x, z))
    angle = (u @ v.T).clamp_(-1, 1).acos_().div_(pi)
    # (1 + γ²)/2 · (1 − θ/π) + γ · θ/π
    return angle.mul_(slope - (1 + slope**2) / 2).add_((1 + slope**2) / 2)


def predicted_direction(at: Tensor, x: Tensor, y: Tensor, slope: float = 0.0) -> Tensor:
    """Σ_n y_n Φ(a, x_n) x_n for each point a: where perturbations point in the limit of infinite width.

    Args:
        at: Points, ``(B, d)``.
        x: Training samples, ``(N, d)``.
        y: Their labels ±1, or any other weights, ``(N,)``; ``(B, N)`` for weights of each point.
        slope: Slope of the leaky ReLU for negative values, in [0, 1].

    Returns:
        float64 ``(B, d)``, not normalised.

    Raises:
        ShapeError: The shapes do not fit.
        ValueRangeError: ``slope`` is outside its range.
    """
    if y.shape not in ((len(x),), (len(at), len(x))):
        raise ShapeError(f"{len(x)} samples need as many labels, for all points or for each, got {tuple(y.shape)}")
    samples, weights = x.double(), y.double().expand(len(at), len(x))
    rows = max(BLOCK // max(len(x), 1), 1)
    found = [
        (derivative_kernel(some, samples, slope) * w) @ samples
        for some, w in zip(at.split(rows), weights.split(rows), strict=True)
    ]
    return torch.cat(found)


def agreement(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The share of points ``(N, d)`` at which two networks have outputs of one sign, in [0, 1]."""
    return float(((first(x) > 0) == (second(x) > 0)).double().mean())


def _labels(x: Tensor, y: Tensor) -> Tensor:
    if y.shape != (len(x),):
        raise ShapeError(f"{len(x)} samples need labels ({len(x)},), got {tuple(y.shape)}")
    if not bool((y.abs() == 1).all()):
        raise ValueRangeError("labels of two classes are +1 and -1")
    return y


def _slope(value: float) -> float:
    value = real(value, "the slope")
    if value > 1:
        raise ValueRangeError(f"the slope must be in [0, 1], got {value:g}")
    return value


def _below_one(value: float, name: str) -> float:
    value = real(value, name)
    if value >= 1:
        raise ValueRangeError(f"{name} must be below 1, got {value:g}")
    return value
