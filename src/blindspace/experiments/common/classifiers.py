"""The small classifiers that the experiments on image manifolds measure, trained once and cached."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...attacks import PGDAdversary
from ...networks import SMALL, Network, Recipe, load
from ...networks.small_networks import small_recipe
from ...networks.trainable import trainable
from ...progress import Progress
from ..parts import Preset, Settings
from .models import trained

RADII = {"mnist": 1.5, "fashion-mnist": 1.5, "cifar10": 0.5}
"""L2 radius of adversarial training, in units of the image range."""

KINDS: tuple[str, ...] = SMALL
"""Kinds of classifiers: mlp, convnet, resnet20."""


def recipe_of(kind: str, dataset: str, seed: int, preset: Preset, short: bool = False) -> Recipe:
    """The training of a classifier under a preset: an instant on the embedded images for smoke.

    Args:
        kind: One of ``KINDS``.
        dataset: Name of the data set.
        seed: Seed of initial weights and order of samples.
        preset: smoke, cpu or paper; the last two train alike.
        short: Whether to train on 30,000 images for three epochs only, as adversarial training does, which takes
            several times as long per step.
    """
    recipe = replace(small_recipe(kind, dataset), seed=seed)
    if preset == "smoke":
        return replace(recipe, epochs=2 if kind == "resnet20" else 10, batch_size=20, images=None, flip=False)
    if short and kind != "resnet20":
        return replace(recipe, images=30_000, epochs=3)
    return recipe


def classifier(
    kind: str,
    dataset: str,
    seed: int,
    s: Settings,
    adversarial: bool = False,
    *,
    same_budget: bool = False,
    untrained: bool = False,
    shuffled: bool = False,
    progress: Progress | None = None,
) -> Network:
    """A small classifier of images in [0, 1], trained or taken from the cache.

    Args:
        kind: One of ``KINDS``.
        dataset: mnist, fashion-mnist or cifar10; smoke has no images of fashion-mnist.
        seed: Seed of initial weights and order of samples; another seed gives an independent network.
        s: Settings, for their preset and device.
        adversarial: Whether it is trained by L2-PGD (Madry et al. 2018) with the radius of ``RADII``.
        same_budget: Whether a network without an adversary is trained on as many images for as many epochs as one with
            an adversary is, to be compared with it.
        untrained: Whether to return the network with the initial weights of this seed instead.
        shuffled: Whether it is trained on shuffled labels, of 1000 images for 100 epochs, until it knows them by
            heart: it knows nothing of the classes. Not with an adversary.
        progress: Called after every step of training.

    Raises:
        UnknownNameError: There is no such kind or data set.
        FileError: The data set is missing, or the cache is damaged.
    """
    name = f"{kind}@{dataset}"
    network = trainable(name)
    if untrained:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return load(network.build(), network.input_shape, name=f"{name}, untrained")
    if shuffled:
        recipe = replace(recipe_of(kind, dataset, seed, s.preset), images=1000, epochs=100, batch_size=32, flip=False)
        return trained(name, s, progress, recipe, shuffled=True)
    adversary = PGDAdversary(RADII[dataset], steps=3) if adversarial else None
    recipe = recipe_of(kind, dataset, seed, s.preset, adversarial or same_budget)
    return trained(name, s, progress, recipe, adversary)
