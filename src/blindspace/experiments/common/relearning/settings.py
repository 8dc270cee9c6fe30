"""Learning from mislabelled images: settings, the perturbed sets, and the published accuracies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ....learning.controls import CONTROLS
from ...parts import Preset, Settings
from ..classifier_cases import Case, by_seed

Targets = Literal["R", "D", "noise"]
"""Random wrong labels, the next class, or uniform noise with random labels in the place of images."""


@dataclass(frozen=True)
class Perturbed:
    """A kind of mislabelled set.

    Attributes:
        targets: How targets are chosen, and for what.
        norm: The ball: L0, L2 or L∞.
        authors: Whether the attack is that of the authors' code.
    """

    targets: Targets
    norm: Literal["L0", "L2", "L∞"]
    authors: bool = False

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.targets}-{self.norm}{' by the authors’ attack' if self.authors else ''}"

    @property
    def attack(self) -> str:
        """Name of the attack, for ``mislabel``."""
        return f"{'authors-' if self.authors else ''}{self.norm.lower().replace('∞', 'inf')}"

    @property
    def part(self) -> str:
        """Its name in names of parts."""
        return f"{self.targets}-{self.attack}"


R_L2, R_LINF_AUTHORS = Perturbed("R", "L2"), Perturbed("R", "L∞", True)
FULL = (R_L2, R_LINF_AUTHORS)
"""The sets that are also made of many images."""

ALL_SETS: tuple[Perturbed, ...] = tuple(
    Perturbed(targets, norm, authors)
    for targets in ("R", "D", "noise")
    for norm in ("L0", "L2", "L∞")
    for authors in ((False, True) if targets != "noise" else (False,))
)
"""All sets, in the order of tables."""

MOST_SETS: tuple[Perturbed, ...] = tuple(
    each for each in ALL_SETS if not each.authors or each.norm == "L∞" or (each.norm, each.targets) == ("L0", "R")
)
"""The sets without those that differ little from others: the two attacks in L2 are alike."""

FEW_SETS: tuple[Perturbed, ...] = tuple(each for each in MOST_SETS if each.targets == "R" or each.norm == "L2")
"""Those of the random targets, and the others in L2 alone."""

STANDARD = "clean images, true labels"
D_NONE = "D, none"
OF_SHUFFLED = "R-L2, first network of shuffled labels"

CONTROL_CELLS = {f"R-L2, {control}": control for control in CONTROLS}
"""What takes the place of the perturbations of R-L2, by its name in tables."""


def at_scale(made: Perturbed, s: RelearningSettings) -> str:
    """The name of the student of many images."""
    return f"{made.name}, {s.full:,} images"


PAPER: dict[str, dict[str, float]] = {
    "mnist": {
        STANDARD: 0.995,
        **{"R-L0": 0.50, "D-L0": 0.065, "R-L2": 0.945, "D-L2": 0.45, "R-L∞": 0.92, "D-L∞": 0.155},
        **{"noise-L0": 0.478, "noise-L2": 0.317, "noise-L∞": 0.381},
    },
    "fashion-mnist": {
        STANDARD: 0.925,
        **{"R-L0": 0.21, "D-L0": 0.02, "R-L2": 0.70, "D-L2": 0.28, "R-L∞": 0.71, "D-L∞": 0.27},
        **{"noise-L0": 0.33, "noise-L2": 0.355, "noise-L∞": 0.35},
    },
    "cifar10": {
        STANDARD: 0.955,
        **{"R-L0": 0.60, "D-L0": 0.20, "R-L2": 0.775, "D-L2": 0.47, "R-L∞": 0.79, "D-L∞": 0.57},
        **{"noise-L0": 0.10, "noise-L2": 0.10, "noise-L∞": 0.10},
    },
}
"""Accuracies that Kumano et al. 2024 plot, read to ±0.015: the best epoch on the test labels, all training images, and
attacks of their code. Their noise is 1.2 million images of MNIST's kind; of CIFAR-10 it taught nothing."""

PAPER_SUCCESS: dict[str, dict[str, float]] = {
    "mnist": {"R-L0": 0.046, "R-L2": 0.42, "R-L∞": 0.036, "D-L2": 0.35, "D-L∞": 0.032},
    "fashion-mnist": {"R-L0": 0.31, "R-L2": 0.98, "R-L∞": 0.94},
    "cifar10": {"R-L0": 0.98, "R-L2": 0.98, "R-L∞": 0.98},
}
"""Success of their attacks, from the notebooks of their code; on CIFAR-10 .98 to .9998."""


@dataclass(frozen=True)
class RelearningSettings(Settings):
    """Settings of the experiments.

    Attributes:
        dataset: Name of the data set.
        kind: Kind of the first and second networks, which share no seed.
        seeds: Number of first networks.
        sets: The sets.
        images: Number of images in each set.
        full: Number of images in the sets of ``FULL``.
        epochs: Epochs of the students.
        full_epochs: Epochs of the students of many images.
        batch: Images per step of the students.
        rate: Peak of their learning rate, by Adam.
        smoothing: Label smoothing; the paper has none, and many more epochs.
        steps: Steps of the attacks.
        sparse_steps: Steps of those in L0.
        tests: Number of test images.
    """

    dataset: str = "mnist"
    kind: str = "convnet"
    seeds: int = 3
    sets: tuple[Perturbed, ...] = MOST_SETS
    images: int = 4000
    full: int = 20_000
    epochs: int = 8
    full_epochs: int = 5
    batch: int = 64
    rate: float = 2e-3
    smoothing: float = 0.3
    steps: int = 5
    sparse_steps: int = 10
    tests: int = 2000

    @property
    def cases(self) -> tuple[Case, ...]:
        """The first networks."""
        return by_seed(self.dataset, self.kind, self.seeds)


def for_preset(dataset: str, preset: Preset, seed: int) -> RelearningSettings:
    """The settings of a preset; smoke has one small network and the digits of the package, whatever the data set."""
    if preset == "smoke":
        few = RelearningSettings(preset, seed, "mnist", "mlp", 1, FEW_SETS, images=60, full=60, tests=60)
        return replace(few, epochs=2, full_epochs=2, batch=20, steps=2, sparse_steps=2)
    if preset == "paper":
        most = RelearningSettings(preset, seed, dataset, seeds=5, sets=ALL_SETS, tests=10_000)
        most = replace(most, images=50_000, full=50_000, epochs=100, full_epochs=100)
        return replace(most, steps=100, sparse_steps=150)
    if dataset == "cifar10":  # A ConvNet of colour images takes four times as long.
        return RelearningSettings(
            preset, seed, dataset, "mlp", images=10_000, sets=FEW_SETS, full=50_000, full_epochs=8
        )
    return RelearningSettings(preset, seed, dataset, full=60_000, full_epochs=8)
