"""Depth of the dimples: settings, and the pairs of networks that are compared."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import GREY, Case, by_seed
from ..parts import Preset, Settings

TANGENT, ANOTHER, PCA, RANDOM = "autoencoder tangent", "another image", "first principal components", "random"
"""The subspaces of equal dimension; the last three are controls of ``manifolds.controls``."""

SPACES = (TANGENT, ANOTHER, PCA, RANDOM)

STANDARD, ADVERSARIAL = "standard", "adversarial"
WAYS = (STANDARD, ADVERSARIAL)
"""How the two networks of a pair are trained: on the same images for as many epochs, from the same initial weights."""


@dataclass(frozen=True)
class DepthSettings(Settings):
    """Settings of the experiment.

    Attributes:
        pairs: Data set and kind of each pair of networks.
        seeds: Number of seeds of each.
        slow_seeds: Number of seeds of convolutional networks, whose adversarial training takes longest.
        count: Number of test images that are attacked.
        seen: Number of training images on which accuracy is measured, for the gap of generalisation.
        draws: Number of random subspaces.
        attacked_draws: Number of random subspaces to which attacks are confined.
    """

    pairs: tuple[tuple[str, str], ...] = GREY
    seeds: int = 5
    slow_seeds: int = 3
    count: int = 120
    seen: int = 5000
    draws: int = 10
    attacked_draws: int = 2


def groups(s: DepthSettings) -> list[tuple[Case, ...]]:
    """The pairs that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds if kind == "mlp" else s.slow_seeds) for dataset, kind in s.pairs]


def for_preset(preset: Preset, seed: int) -> DepthSettings:
    """The settings of a preset; smoke has one pair of small networks and few images."""
    if preset == "smoke":
        return DepthSettings(preset, seed, (("mnist", "mlp"),), 1, count=8, seen=50, draws=2, attacked_draws=1)
    if preset == "cpu":
        return DepthSettings(preset, seed)
    colour = (("cifar10", "mlp"), ("cifar10", "convnet"))
    pairs = (*DepthSettings.pairs, *colour)
    return DepthSettings(preset, seed, pairs, count=500, slow_seeds=5, seen=20_000, attacked_draws=10)
