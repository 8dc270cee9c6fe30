"""First networks whose first layer has a nullspace, so that they provably cannot see a part of their perturbations."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from ...data import SHAPES
from ...learning.training import learn
from ...networks import Network, load
from ...networks.preprocessing_modules import Normalise
from ...networks.small_networks import small_recipe
from ...progress import Progress
from ..parts import Settings
from .learning import CLASSES, labelled_images

SIDE = 4
"""Side and stride of the kernels: of each patch of 16 pixels as many values are read as there are kernels."""


IMAGES = 20_000
"""Training images of the first networks."""


def _module(dataset: str, kernels: int) -> nn.Sequential:
    """A convolution of patches without overlap, and a hidden layer of 128 ReLUs."""
    channels, height, width = SHAPES[dataset]
    halves, patches = [0.5] * channels, (height // SIDE) * (width // SIDE)
    return nn.Sequential(
        Normalise(halves, halves),
        nn.Conv2d(channels, kernels, SIDE, SIDE),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(kernels * patches, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )


def blind_network(dataset: str, kernels: int, seed: int, s: Settings, progress: Progress | None = None) -> Network:
    """A trained network of grey images that reads ``kernels`` of the 16 dimensions of every 4×4 patch.

    Args:
        dataset: mnist or fashion-mnist; smoke has no images of the second.
        kernels: Number of kernels, at most 16.
        seed: Seed of initial weights and order of samples.
        s: Settings, for their preset and device; smoke trains on the embedded images.
        progress: Called after every step of training.
    """
    recipe = replace(small_recipe("convnet", dataset), seed=seed, epochs=3)
    if s.preset == "smoke":
        recipe = replace(recipe, epochs=10, batch_size=20)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        module = _module(dataset, kernels)
    images, labels = labelled_images(dataset, s, IMAGES, "train")
    made = learn(module, images, labels, recipe, progress=progress).network
    return replace(made, name=f"{kernels} of 16 kernels@{dataset}")


def untrained_behind(network: Network, seed: int) -> Network:
    """An untrained network with the first layer of a trained one, hence with the same harmless subspace.

    Args:
        network: A network of ``blind_network``.
        seed: Seed of the other layers.
    """
    module = deepcopy(network.module)
    assert isinstance(module, nn.Sequential)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        for layer in module.children():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    return load(module, network.input_shape, name=f"{network.name}, untrained")
