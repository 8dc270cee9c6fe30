"""Learning from a network's labels without perturbations: settings, cases, and the sets that students learn from."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..common.classifier_cases import Case
from ..common.classifier_names import DATASETS
from ..parts import Preset, Settings

GIVEN = "N1's labels"
NORMALISED = "N1's labels, images with the mean and deviation of N1's"
AMONG, OVER = "N1's labels shuffled among equal true classes", "N1's labels shuffled over all"
UNTRAINED, BLIND = "labels of an untrained network", "labels of a network trained on shuffled labels"
NOISE = "N1's labels of uniform noise"
TRUE = "true labels of the same images"

ERRORS = (GIVEN, AMONG, OVER, UNTRAINED, BLIND, TRUE)
"""What students of training errors learn from."""

FOREIGN = (GIVEN, NORMALISED, OVER, UNTRAINED, BLIND, NOISE)
"""What students of the images of another data set learn from."""


@dataclass(frozen=True)
class Labelling(Case):
    """Images and the network N1 that labels them.

    Attributes:
        dataset: Data set that N1 has learnt, and of the test images.
        kind: Kind of N1, N2 and the networks of the controls.
        seed: Seed of N1.
        source: Data set of the images; that of N1 itself for its training errors.
        count: Largest number of images.
        cells: What students learn from.
    """

    source: str
    count: int
    cells: tuple[str, ...]

    @property
    def part(self) -> str:
        """Name of its part."""
        return f"{self.source}-by-{self.dataset}.{self.kind}.{self.seed}"

    @property
    def errors(self) -> bool:
        """Whether the images are training errors of N1."""
        return self.source == self.dataset

    @property
    def said(self) -> str:
        """What is labelled by what, in words."""
        first = DATASETS[self.dataset]
        return f"errors on {first}" if self.errors else f"{DATASETS[self.source]} images with {first} labels"


Sets = tuple[str, str, str, int, tuple[str, ...]]
"""Data set of the images, data set and kind of N1, largest number of images, and the cells."""


@dataclass(frozen=True)
class WallaceSettings(Settings):
    """Settings of the experiment.

    Attributes:
        sets: What students learn from.
        seeds: Number of networks N1 of each.
        short: Epochs of an N1 whose errors are learnt; others are trained as usual.
        epochs: Epochs of the students of errors, and of those of another data set.
        batch: Images per step of the students.
        tests: Number of test images.
    """

    sets: tuple[Sets, ...] = field(default_factory=tuple)
    seeds: int = 3
    short: int = 2
    epochs: tuple[int, int] = (6, 6)
    batch: int = 128
    tests: int = 10_000


def groups(s: WallaceSettings) -> list[tuple[Labelling, ...]]:
    """The cases that differ by their seed only."""
    return [
        tuple(Labelling(dataset, kind, seed, source, count, cells) for seed in range(s.seeds))
        for source, dataset, kind, count, cells in s.sets
    ]


def for_preset(preset: Preset, seed: int) -> WallaceSettings:
    """The settings of a preset; smoke has the embedded images alone, of which those in colour become grey."""
    if preset == "smoke":
        embedded = (("mnist", "mnist", "mlp", 100, ERRORS), ("cifar10", "mnist", "mlp", 100, FOREIGN))
        return WallaceSettings(preset, seed, embedded, 1, 1, (2, 2), 20, 100)
    if preset == "cpu":
        sets: tuple[Sets, ...] = (
            ("cifar10", "cifar10", "convnet", 6_000, (GIVEN, AMONG, OVER, TRUE)),
            ("fashion-mnist", "mnist", "convnet", 60_000, (GIVEN, NORMALISED)),
            ("fashion-mnist", "mnist", "mlp", 15_000, FOREIGN),
        )
        return WallaceSettings(preset, seed, sets, epochs=(6, 12))
    pairs = ("fashion-mnist", "mnist", "convnet"), ("fashion-mnist", "mnist", "mlp"), ("mnist", "fashion-mnist", "mlp")
    foreign = tuple((*pair, 60_000, FOREIGN) for pair in pairs)
    return WallaceSettings(
        preset, seed, (("cifar10", "cifar10", "convnet", 50_000, ERRORS), *foreign), 5, epochs=(50, 50)
    )
