"""Copies of a network modified as deployed ones are: fine-tuned, quantised, pruned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from ...networks import Network

Layer = nn.Conv2d | nn.Linear


def changed(network: Network, name: str, change: Callable[[Layer], None], stem: bool = True) -> Network:
    """A copy whose convolutions and fully-connected layers are modified one by one.

    Args:
        network: The original, which stays as it is.
        name: Name of the copy.
        change: Modifies a layer in place.
        stem: Whether the first layer is modified too.
    """
    made = _copy(network, name)
    with torch.no_grad():
        for layer in _layers(made.module)[0 if stem else 1 :]:
            change(layer)
    return made


def eight_bit(layer: Layer) -> None:
    """Round weights to 255 levels, symmetric about 0, with one scale per output channel."""
    flat = layer.weight.flatten(1)
    scale = flat.abs().amax(1).clamp(min=torch.finfo(flat.dtype).tiny) / 127
    zero = torch.zeros(len(flat), dtype=torch.int32)
    layer.weight.copy_(torch.fake_quantize_per_channel_affine(layer.weight, scale, zero, 0, -127, 127))


def half_precision(layer: Layer) -> None:
    """Round weights to float16, in which they are often stored."""
    layer.weight.copy_(layer.weight.half().to(layer.weight.dtype))


def half_pruned(layer: Layer) -> None:
    """Set the smaller half of the weights to 0."""
    prune.l1_unstructured(layer, "weight", amount=0.5)
    prune.remove(layer, "weight")


def restemmed(network: Network, name: str, generator: torch.Generator, share: float | None = None) -> Network:
    """A copy with noise on the weights of its first layer.

    Args:
        network: The original, which stays as it is.
        name: Name of the copy.
        generator: Source of randomness.
        share: Norm of the noise as a share of the weights'; None replaces the weights by noise of their norm.
    """
    made = _copy(network, name)
    weight = _layers(made.module)[0].weight
    noise = torch.randn(weight.shape, generator=generator)
    noise = noise * (weight.detach().norm() / noise.norm())
    with torch.no_grad():
        weight.copy_(noise if share is None else weight + share * noise)
    return made


def fine_tuned(
    network: Network,
    name: str,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    stem: bool = True,
    batch: int = 100,
    learning_rate: float = 0.01,
) -> Network:
    """A copy trained a little further: one pass of SGD over some images.

    Args:
        network: The original, which stays as it is.
        name: Name of the copy.
        images: ``(N, *input_shape)``, of the network's dtype.
        labels: int64 ``(N,)``.
        generator: Source of randomness of the images' order.
        stem: Whether the first layer is trained too.
        batch: Images per step.
        learning_rate: Learning rate of SGD with momentum 0.9.
    """
    made = _copy(network, name)
    module = made.module.to(images.device).train()
    kept = () if stem else tuple(map(id, _layers(module)[0].parameters()))
    free = [p for p in module.parameters() if id(p) not in kept]
    optimiser = torch.optim.SGD(free, learning_rate, 0.9)
    for chosen in torch.randperm(len(images), generator=generator).split(batch):
        optimiser.zero_grad()
        F.cross_entropy(module(images[chosen]), labels[chosen]).backward()
        optimiser.step()
    module.cpu().eval()
    return made


def _copy(network: Network, name: str) -> Network:
    """A copy with its own module; nothing computed for the original is taken along."""
    return replace(network, name=name, module=copy.deepcopy(network.module), card={})


def _layers(module: nn.Module) -> list[Layer]:
    return [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
