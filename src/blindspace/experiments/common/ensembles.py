"""Fully connected networks of one shape, one per seed, trained at the same time as batched matrix products.

A toy problem is worth nothing on one seed; on twenty it costs as much as on one, because small matrix products are
bound by the number of calls and not by their size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

import torch
from torch import Tensor

from ..parts import seed_of

Init = Literal["gaussian", "default"]
"""Initial weights: N(0, 1/fan_in), or torch's default, uniform between ±1/√fan_in. Biases are always the latter."""


@dataclass
class Ensemble:
    """S networks of ReLU layers with equal widths; as made, none is trained.

    Attributes:
        weights: One ``(S, out, in)`` per layer.
        biases: One ``(S, out)`` per layer; None for layers without biases.
    """

    weights: list[Tensor]
    biases: list[Tensor | None]

    @property
    def parameters(self) -> list[Tensor]:
        """All weights and biases."""
        return [*self.weights, *(bias for bias in self.biases if bias is not None)]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``(S, N, out)``.

        Args:
            x: ``(N, in)``, the same points for every network, or ``(S, N, in)``.
        """
        x = self.hidden(x)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            x = _affine(torch.relu(x), weight, bias)
        return x

    def hidden(self, x: Tensor) -> Tensor:
        """Outputs ``(S, N, width)`` of the first layer, which the first ReLU reads."""
        return _affine(x, self.weights[0], self.biases[0])

    def gradients(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Gradients ``(S, N, in)`` of a scalar of the outputs with respect to the points.

        Args:
            x: Points, as for calls.
            of: From outputs ``(S, N, out)`` to one scalar per network and point, ``(S, N)``.
        """
        points = x.detach().expand(len(self.weights[0]), *x.shape[-2:]).clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(of(self(points)).sum(), points)[0]

    def trained(self, trained: bool = True) -> Ensemble:
        """The same tensors, all of them to be trained, or none."""
        for parameter in self.parameters:
            parameter.requires_grad_(trained)
        return self

    def copy(self, dtype: torch.dtype | None = None) -> Ensemble:
        """A copy that is not trained, with another precision if one is given."""
        dtype = dtype or self.weights[0].dtype
        return Ensemble(
            [weight.detach().to(dtype, copy=True) for weight in self.weights],
            [None if bias is None else bias.detach().to(dtype, copy=True) for bias in self.biases],
        )

    def take(self, index: int) -> Ensemble:
        """One of the networks, as an ensemble of one that is not trained."""
        return Ensemble(
            [weight.detach()[index : index + 1].clone() for weight in self.weights],
            [None if bias is None else bias.detach()[index : index + 1].clone() for bias in self.biases],
        )


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.ndim == 2:  # the same points for every network: one large product
        found: Tensor = (weight.flatten(0, 1) @ x.mT).unflatten(0, weight.shape[:2]).mT
        return found if bias is None else found + bias[:, None]
    bmm: Tensor = x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
    return bmm


def ensemble(
    seeds: Sequence[int],
    widths: Sequence[int],
    init: Init = "default",
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Ensemble:
    """Networks with initial weights, each drawn from its own seed, whatever the other seeds are.

    Args:
        seeds: One per network.
        widths: Dimensions of the input, of the hidden layers and of the output.
        init: Distribution of the initial weights.
        bias: Whether layers have biases.
        dtype: Floating-point type.
        device: Device of the networks; their weights are drawn on the CPU.
    """
    drawn = [_layers(torch.Generator().manual_seed(seed_of(seed, "ensemble")), widths, init) for seed in seeds]
    layers = range(len(widths) - 1)
    return Ensemble(
        [torch.stack([of[layer][0] for of in drawn]).to(device, dtype) for layer in layers],
        [torch.stack([of[layer][1] for of in drawn]).to(device, dtype) if bias else None for layer in layers],
    )


def _layers(generator: torch.Generator, widths: Sequence[int], init: Init) -> list[tuple[Tensor, Tensor]]:
    found = []
    for fan_in, out in pairwise(widths):
        uniform = torch.rand(out, fan_in + 1, generator=generator, dtype=torch.float64) * 2 - 1
        normal = torch.randn(out, fan_in, generator=generator, dtype=torch.float64)
        weight = normal if init == "gaussian" else uniform[:, 1:]
        found.append((weight / sqrt(fan_in), uniform[:, 0] / sqrt(fan_in)))
    return found


def descend(optimiser: torch.optim.Optimizer, losses: Tensor) -> None:
    """One step on the losses ``(S,)`` of all networks; the gradient of one network never reaches another."""
    optimiser.zero_grad(set_to_none=True)
    losses.sum().backward()
    optimiser.step()
