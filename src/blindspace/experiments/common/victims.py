"""Victim models of black-box attacks, with the images they classify correctly and the subspace they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from ...manifolds.controls import low_frequency
from ...maps.operations import resize as resize_map
from ...networks import BUILTIN, Network, Resize, harmless, load
from ...subspaces import Spanned, Subspace
from ..parts import Settings
from .confinement import behind, everything, kept_by, outside, permuted, random_frequencies
from .models import images, of_others, tensors, trained
from .networks_of_others import VIT, vit_of_others

ROBUST = VIT
"""A provably robust network that is not part of the package."""


@dataclass(frozen=True)
class Victim:
    """A victim model and the images to attack.

    Attributes:
        network: Network that takes images in [0, 1].
        images: Correctly classified images, float32 ``(N, C, H, W)``.
        labels: int64 ``(N,)``.
        effective: Row space of its affine front.
        guess: A guess at ``effective`` by somebody who does not know the weights; None if there is none.
    """

    network: Network
    images: Tensor
    labels: Tensor
    effective: Subspace
    guess: Subspace | None


def has_guess(name: str) -> bool:
    """Whether there is a guess: the resize alone, or the row space of another network with the same kind of stem."""
    return name not in (ROBUST, "mnist-mlp")


def present() -> tuple[str, ...]:
    """The networks outside the package that are in the folder ``BLINDSPACE_MODELS``."""
    return (ROBUST,) if of_others(ROBUST) else ()


def runs(name: str, present: Sequence[str]) -> bool:
    """Whether a network is part of the package, or among those present."""
    return name != ROBUST or name in present


@lru_cache(maxsize=1)
def victim(name: str, s: Settings, count: int) -> Victim:
    """A victim model by name.

    Args:
        name: A built-in network, one of the paper's, or ``ROBUST``; ``cifar-resnet@96`` shrinks 96×96 images first.
        s: Settings, for their preset and seed.
        count: Number of images, the first that are classified correctly.
    """
    base, at, side = name.partition("@")
    network = _network(base, s)
    resize = resize_map((3, int(side), int(side)), (32, 32), antialias=True) if at else None
    guess: Subspace | None = None
    if resize is not None:
        space = behind(resize, harmless(network).basis())
        module = nn.Sequential(Resize(32, "bilinear"), network.module)
        network = load(module, input_shape=resize.in_shape, name=name)
        guess = kept_by(resize)
    else:
        space = _seen(network)
        if has_guess(name):
            guess = _seen(_network("resnet18-ten" if base == "cifar-resnet" else "cifar-resnet", s))
    x, y = _correctly_classified(network, s, count)
    return Victim(network, x, y, space, guess)


def _network(base: str, s: Settings) -> Network:
    if base in BUILTIN:
        return load(base)
    return vit_of_others() if base == ROBUST else trained(base, s)


def _seen(network: Network) -> Subspace:
    """The row space of the front, represented by the smaller of two bases."""
    unseen = harmless(network)
    if unseen.dim <= unseen.ambient_dim // 2:
        return outside(unseen.basis(), everything(network.input_shape))
    return Spanned(unseen.complement.basis())


def _correctly_classified(network: Network, s: Settings, count: int) -> tuple[Tensor, Tensor]:
    """The first correctly classified images, enlarged (bicubic, to eight bits) if the network takes larger ones."""
    dataset = "mnist" if network.input_shape[0] == 1 else "cifar10"
    found = images(dataset, s.preset, None if s.preset == "smoke" else 4 * count)
    x, y = tensors(found, s)
    if x.shape[1:] != network.input_shape:
        enlarged = Resize(network.input_shape[1:], "bicubic", antialias=False)(x)
        x = (enlarged.clamp(0, 1) * 255).round() / 255
    right = (network.labels(x) == y).nonzero()[:count, 0]
    return x[right], y[right]


CONFINED = ("effective", "guessed", "low frequencies", "random subspace", "permuted", "harmless")


def confined(kind: str, found: Victim, generator: torch.Generator) -> Subspace | None:
    """The subspace of a kind, of the same dimension as the effective one; None for the whole space.

    Args:
        kind: One of ``CONFINED``; any other word stands for the whole space.
        found: The victim model.
        generator: Source of randomness of the random subspaces.
    """
    space, shape = found.effective, found.effective.shape
    match kind:
        case "effective":
            return space
        case "guessed":
            return found.guess
        case "low frequencies":
            return low_frequency(shape, space.dim)
        case "random subspace":
            return random_frequencies(shape, space.dim, generator)
        case "permuted":
            return permuted(space, generator)
        case "harmless":
            return space.complement
        case _:
            return None


def slopes(found: Victim, batch: int = 50) -> Tensor | None:
    """Gradients of the margin at the images ``(N, *shape)``; None for a network without gradients."""
    if not all(p.requires_grad for p in found.network.module.parameters()) or found.network.name.startswith(ROBUST):
        return None
    made = []
    for x, y in zip(found.images.split(batch), found.labels.split(batch), strict=True):
        at = x.clone().requires_grad_()
        scores = found.network.run(at, at.dtype)
        other = scores.scatter(1, y[:, None], -torch.inf).amax(1)
        made.append(torch.autograd.grad((scores.gather(1, y[:, None])[:, 0] - other).sum(), at)[0])
    return torch.cat(made)
