"""A few clean labels beside perturbed samples: settings, and the names of students."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

RANDOM, NEXT, RANDOM_NONE, NEXT_NONE = "R", "D", "R without perturbations", "D without perturbations"
RANDOM_SHUFFLED = "R, perturbations shuffled over all"

BESIDE = (RANDOM, NEXT, RANDOM_NONE, RANDOM_SHUFFLED, NEXT_NONE)
"""What clean images stand beside."""

ALONE = "clean images alone"


def name(beside: str, count: int) -> str:
    """Name of a student that has so many clean images of each class."""
    return f"{beside}, {count} clean per class"


@dataclass(frozen=True)
class FewSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the networks that are attacked; the students have the same kind.
        seeds: Number of networks of each.
        images: Number of perturbed training images.
        counts: Numbers of clean images of each class, ascending from 0.
        steps: Steps of the attacks, in L2 balls of the paper's radius.
        epochs: Passes over the perturbed images.
        batch: Images per step.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str], ...] = (("mnist", "mlp"), ("fashion-mnist", "mlp"))
    seeds: int = 3
    images: int = 3000
    counts: tuple[int, ...] = (0, 1, 3, 10, 30, 100)
    steps: int = 10
    epochs: int = 4
    batch: int = 64
    tests: int = 10_000


def groups(s: FewSettings) -> list[tuple[Case, ...]]:
    """The networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.makers]


def for_preset(preset: Preset, seed: int) -> FewSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return FewSettings(preset, seed, (("mnist", "mlp"),), 1, 60, (0, 1, 2), 2, 2, 20, 60)
    if preset == "cpu":
        return FewSettings(preset, seed)
    makers = (("mnist", "convnet"), ("fashion-mnist", "convnet"), ("cifar10", "convnet"))
    return FewSettings(preset, seed, makers, 5, 40_000, steps=100, epochs=20)
