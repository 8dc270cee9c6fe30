"""Content of perturbations: settings, and the networks that are attacked."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import GREY, Case, by_seed
from ..parts import Preset, Settings

PLAIN, ON, OFF = "all directions", "on: autoencoder tangent", "off: its complement"
CONTROLS = ("another image", "permuted pixels", "first principal components", "low frequencies", "random")
"""Subspaces of the tangent space's dimension, of ``manifolds.controls``."""

SPACES = (PLAIN, ON, OFF, *CONTROLS)
"""What perturbations are confined to."""

SEED, KIND, ROBUST = "another seed", "another architecture", "adversarially trained"
OBSERVERS = (SEED, KIND, ROBUST)
"""The independent networks that are asked what they see; the last also has another architecture."""


@dataclass(frozen=True)
class ContentSettings(Settings):
    """Settings of the experiment.

    Attributes:
        victims: Data set and kind of the networks that are attacked.
        seeds: Number of networks of each kind.
        count: Number of test images.
        sizes: L2 norms of the perturbations, in units of the pixel range; the same for every subspace.
        deciding: The one of them that claims are decided at.
        draws: Number of random subspaces.
    """

    victims: tuple[tuple[str, str], ...] = GREY
    seeds: int = 3
    count: int = 200
    sizes: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
    deciding: float = 3.0
    draws: int = 3


def observers_of(case: Case) -> dict[str, tuple[str, int, bool]]:
    """Kind, seed and adversarial training of each observer of an attacked network."""
    other, seed = "mlp" if case.kind == "convnet" else "convnet", case.seed + 1
    # Adversarial training takes longest, so that three such networks serve all.
    return {SEED: (case.kind, seed, False), KIND: (other, seed, False), ROBUST: (other, seed % 3, True)}


def groups(s: ContentSettings) -> list[tuple[Case, ...]]:
    """The networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.victims]


def for_preset(preset: Preset, seed: int) -> ContentSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return ContentSettings(preset, seed, (("mnist", "mlp"),), 1, 8, (3.0,), draws=1)
    if preset == "cpu":
        return ContentSettings(preset, seed)
    return ContentSettings(preset, seed, seeds=5, count=1000, draws=10)
