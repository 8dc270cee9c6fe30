"""Learning against attack success: settings and sets."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

SUCCEEDED, FAILED, EITHER = "those that succeed", "those that fail", "either, as many"
"""Which of the samples of one set a student learns from: as many of each."""


@dataclass(frozen=True)
class Attack:
    """An attack with its radius: a name of ``learning.rules.ATTACKS``, and a number of values for L0."""

    name: str
    eps: float

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"R-{self.name}, ε {self.eps:g}"


GRID: tuple[Attack, ...] = (
    *(Attack("l2", eps) for eps in (0.5, 1.0, 2.0, 3.0)),
    *(Attack("linf", eps) for eps in (0.1, 0.3)),
    *(Attack("authors-linf", eps) for eps in (0.1, 0.3)),
    *(Attack("l0", eps) for eps in (10, 30)),
    Attack("authors-l0", 10),
)
"""The attacks whose students are compared."""

SPLIT = Attack("l2", 2.0)
"""The attack whose successes and failures are learnt from separately."""


@dataclass(frozen=True)
class SuccessSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the first networks; second ones have the same kind and other seeds.
        seeds: Number of first networks of each.
        grid: The attacks.
        images: Number of images in each set.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        rate: Peak of their learning rate, by Adam.
        smoothing: Label smoothing, which keeps them learning once they know the targets by heart.
        steps: Steps of the attacks, of L0 one per value.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str], ...] = (("mnist", "mlp"), ("fashion-mnist", "mlp"))
    seeds: int = 3
    grid: tuple[Attack, ...] = GRID
    images: int = 3000
    epochs: int = 8
    batch: int = 64
    rate: float = 2e-3
    smoothing: float = 0.3
    steps: int = 5
    tests: int = 2000


def groups(s: SuccessSettings) -> list[tuple[Case, ...]]:
    """The first networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.makers]


def for_preset(preset: Preset, seed: int) -> SuccessSettings:
    """The settings of a preset; smoke has one network and three attacks."""
    if preset == "smoke":
        few = (Attack("l2", 0.5), SPLIT, Attack("authors-linf", 0.3))
        return SuccessSettings(preset, seed, (("mnist", "mlp"),), 1, few, 80, 2, 20, steps=2, tests=60)
    if preset == "cpu":
        return SuccessSettings(preset, seed)
    makers = (("mnist", "mlp"), ("mnist", "convnet"), ("fashion-mnist", "mlp"), ("fashion-mnist", "convnet"))
    return SuccessSettings(preset, seed, makers, 5, images=60_000, epochs=30, steps=100)
