"""Small classifiers that train on one core: a multilayer perceptron, a convolutional network and ResNet-20.

They read images in [0, 1]; the first layer maps them to [-1, 1]. Weights are not shipped: ``blindspace train`` trains
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

from torch import nn

from ..data import CLASSES, SHAPES
from .builtin import Builtin, Recipe
from .preprocessing_modules import Normalise, ResidualBlock


def _centred(dataset: str) -> Normalise:
    halves = [0.5] * SHAPES[dataset][0]
    return Normalise(halves, halves)


def mlp(dataset: str) -> nn.Sequential:
    """Two hidden layers of 256 ReLUs."""
    return nn.Sequential(
        _centred(dataset),
        nn.Flatten(),
        nn.Linear(prod(SHAPES[dataset]), 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, len(CLASSES[dataset])),
    )


def convnet(dataset: str) -> nn.Sequential:
    """Two 4×4 convolutions of stride 2 and a hidden layer of 128 ReLUs; no batch norm."""
    return convnet_for(SHAPES[dataset], len(CLASSES[dataset]))


def convnet_for(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """The network ``convnet`` for images of a shape whose sides are multiples of 4."""
    channels, height, width = shape
    kernels, halves = 16 if channels == 1 else 32, [0.5] * channels
    return nn.Sequential(
        Normalise(halves, halves),
        nn.Conv2d(channels, kernels, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(kernels, 2 * kernels, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * kernels * (height // 4) * (width // 4), 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def resnet20(dataset: str) -> nn.Sequential:
    """ResNet-20 for small images (He et al. 2016): three stages of 16, 32 and 64 channels, with batch norm."""
    blocks = [ResidualBlock(*sizes) for stage in _STAGES for sizes in stage]
    return nn.Sequential(
        _centred(dataset),
        nn.Conv2d(SHAPES[dataset][0], 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(CLASSES[dataset])),
    )


_STAGES = (
    ((16, 16), (16, 16), (16, 16)),
    ((16, 32, 2), (32, 32), (32, 32)),
    ((32, 64, 2), (64, 64), (64, 64)),
)
"""The arguments of each residual block."""

_BUILDS: dict[str, Callable[[str], nn.Module]] = {"mlp": mlp, "convnet": convnet, "resnet20": resnet20}

SMALL: tuple[str, ...] = tuple(_BUILDS)
"""Names of the networks; a data set may follow after @."""


def small_recipe(name: str, dataset: str) -> Recipe:
    """The training of a small network: at most five minutes on one core.

    Args:
        name: One of ``SMALL``.
        dataset: Name of the data set.
    """
    colour = SHAPES[dataset][0] == 3
    if name != "resnet20":
        adam = Recipe(dataset, 4, learning_rate=1e-3, weight_decay=0.0, optimiser="adam", schedule="constant")
        return replace(adam, epochs=5, flip=True) if colour else adam
    if colour:
        return Recipe(dataset, 4, flip=True, images=10_000)
    return Recipe(dataset, 2, images=8_000)


def small_network(name: str) -> Builtin | None:
    """One of the small networks by a name of ``SMALL``, perhaps with ``@`` and a data set; None if it is no such name.

    Without a data set it is one for MNIST, and ResNet-20 one for CIFAR-10.
    """
    base, at, dataset = name.partition("@")
    dataset = dataset if at else ("cifar10" if base == "resnet20" else "mnist")
    if base not in _BUILDS or dataset not in SHAPES:
        return None
    return Builtin(name, SHAPES[dataset], partial(_BUILDS[base], dataset), small_recipe(base, dataset))
