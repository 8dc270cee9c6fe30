"""Robust features in perturbed images: settings, and the names of what is learnt by what."""

from __future__ import annotations

from dataclasses import dataclass

from ...learning.controls import CONTROLS, NONE, SHUFFLED
from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

RANDOM, NEXT = "R", "D"
"""Targets: random among the other classes, or the class after the true one."""

WHOLE, BLIND = "perturbations", "of a network trained on shuffled labels"

CELLS = {RANDOM: (WHOLE, *CONTROLS, BLIND), NEXT: (WHOLE, *CONTROLS)}
"""What is added to the images, by the targets."""

ROBUST, LINEAR, DEEP = "robust linear features", "linear model", "network of the same kind"
"""What learns from them."""

EPS = {"mnist": 2.0, "fashion-mnist": 2.0, "cifar10": 0.5}
"""L2 radius of the attacks by data set, the paper's."""

OF_RADIUS = 0.5
"""Radius to which the features are robust, as a share of the attack's: Goh has 0.25 for attacks of 0.5."""


LEARNERS = {WHOLE: (ROBUST, LINEAR, DEEP), NONE: (ROBUST, LINEAR), SHUFFLED: (ROBUST, LINEAR)}
"""What learns from which cells; from all others robust features alone."""


def learners(targets: str, cell: str) -> tuple[str, ...]:
    """What learns from a cell; a network of the same kind only where the class after the true one is the target."""
    return tuple(by for by in LEARNERS.get(cell, (ROBUST,)) if by != DEEP or targets == NEXT)


def name(learner: str, targets: str, cell: str) -> str:
    """Name of a student."""
    return f"{learner}, {targets}, {cell}"


@dataclass(frozen=True)
class LeakSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the networks that are attacked, and number of perturbed training images.
        seeds: Number of networks of each.
        steps: Steps of the attacks.
        features: Number of clean training images that the robust features are fitted to.
        epochs: Epochs of the linear models, and of the network of the same kind.
        batch: Images per step.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str, int], ...] = (
        ("mnist", "convnet", 6_000),
        ("cifar10", "mlp", 10_000),
    )
    seeds: int = 3
    steps: int = 10
    features: int = 4000
    epochs: tuple[int, int] = (5, 10)
    batch: int = 64
    tests: int = 10_000

    def images(self, case: Case) -> int:
        """Number of perturbed training images."""
        return next(count for dataset, kind, count in self.makers if (dataset, kind) == (case.dataset, case.kind))


def groups(s: LeakSettings) -> list[tuple[Case, ...]]:
    """The networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind, _ in s.makers]


def for_preset(preset: Preset, seed: int) -> LeakSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return LeakSettings(preset, seed, (("mnist", "mlp", 60),), 1, 2, 200, (2, 2), 20, 200)
    if preset == "cpu":
        return LeakSettings(preset, seed)
    makers = tuple((dataset, "convnet", 50_000) for dataset in EPS)
    return LeakSettings(preset, seed, makers, 5, 100, 50_000, (20, 20), 128)
