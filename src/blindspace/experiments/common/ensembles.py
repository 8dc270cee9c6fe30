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

from ..experiment import seed_of

Init = Literal["gaussian", "default"]
"""Initial weights: N(0, 1/fan_in), or torch's default, uniform between ±1/√fan_in. Biases are always the latter."""


@dataclass
class Ensemble:
    """S networks of ReLU layers with equal widths.

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
        x = x.expand(len(self.weights[0]), *x.shape[-2:])
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.relu(x) if layer else x
            x = x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        return x

    def gradients(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Gradients ``(S, N, in)`` of a scalar of the outputs with respect to the points.

        Args:
            x: Points, as for calls.
            of: From outputs ``(S, N, out)`` to one scalar per network and point, ``(S, N)``.
        """
        points = x.detach().expand(len(self.weights[0]), *x.shape[-2:]).clone().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(of(self(points)).sum(), points)[0]

    def to(self, dtype: torch.dtype) -> Ensemble:
        """A copy, detached, with another precision."""
        return Ensemble(
            [weight.detach().to(dtype, copy=True) for weight in self.weights],
            [None if bias is None else bias.detach().to(dtype, copy=True) for bias in self.biases],
        )

    def copy(self) -> Ensemble:
        """A copy, detached."""
        return self.to(self.weights[0].dtype)

    def take(self, index: int) -> Ensemble:
        """One of the networks, as an ensemble of one."""
        return Ensemble(
            [weight.detach()[index : index + 1].clone() for weight in self.weights],
            [None if bias is None else bias.detach()[index : index + 1].clone() for bias in self.biases],
        )


def ensemble(
    seeds: Sequence[int],
    widths: Sequence[int],
    init: Init = "default",
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Ensemble:
    """Networks with initial weights, each drawn from its own seed, whatever the other seeds are.

    Args:
        seeds: One per network.
        widths: Dimensions of the input, of the hidden layers and of the output.
        init: Distribution of the initial weights.
        bias: Whether layers have biases.
        dtype: Floating-point type.
    """
    drawn = [_layers(torch.Generator().manual_seed(seed_of(seed, "ensemble")), widths, init) for seed in seeds]
    layers = range(len(widths) - 1)
    return Ensemble(
        [torch.stack([of[layer][0] for of in drawn]).to(dtype) for layer in layers],
        [torch.stack([of[layer][1] for of in drawn]).to(dtype) if bias else None for layer in layers],
    )


def _layers(generator: torch.Generator, widths: Sequence[int], init: Init) -> list[tuple[Tensor, Tensor]]:
    found = []
    for fan_in, out in pairwise(widths):
        uniform = torch.rand(out, fan_in + 1, generator=generator, dtype=torch.float64) * 2 - 1
        normal = torch.randn(out, fan_in, generator=generator, dtype=torch.float64)
        weight = normal if init == "gaussian" else uniform[:, 1:]
        found.append((weight / sqrt(fan_in), uniform[:, 0] / sqrt(fan_in)))
    return found


def step(
    networks: Ensemble, x: Tensor, loss: Callable[[Tensor], Tensor], rate: float, running: Tensor | None = None
) -> None:
    """One step of gradient descent, in place.

    Args:
        networks: The networks; their tensors are leaves without gradients.
        x: Points, as for calls.
        loss: From outputs ``(S, N, out)`` to one loss per network, ``(S,)``.
        rate: Learning rate.
        running: Which networks take the step, bool ``(S,)``; all if None.
    """
    parameters = networks.parameters
    for parameter in parameters:
        parameter.requires_grad_()
    gradients = torch.autograd.grad(loss(networks(x)).sum(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(False)
        if running is not None:
            gradient *= running.view(-1, *[1] * (gradient.ndim - 1))
        parameter.sub_(gradient, alpha=rate)
