"""What the invisible part of perturbations teaches: settings, first networks, and what students learn from."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

WHOLE, SEEN, HARMLESS = "x + d", "x + (d − h)", "x + h"
FLIPPED, ALONE, SHUFFLED = "x − h", "grey + h", "x + h of another image, same target"
UNTRAINED, PATTERN = "x + h of an untrained maker", "x + one harmless pattern per target"
NOISE, NONE = "x + harmless noise", "x"

CONTROLS = (UNTRAINED, PATTERN, NOISE, NONE)
"""What holds no trace of what the maker has learnt."""

CELLS = (WHOLE, SEEN, HARMLESS, FLIPPED, ALONE, SHUFFLED, *CONTROLS)
"""What students learn from, with the targets as labels; h is the harmless part of the perturbation d. What is added
to an image has the norm of its h."""

STEP = "one L2 step, unclipped"
ATTACKS = ("l2", "linf", "l0", "authors-l2", "authors-linf", "authors-l0")
"""Attacks whose harmless share is measured beside that of a single step."""

LEARNERS = {"linear": "linear", "mlp": "MLP", "convnet": "ConvNet"}
"""Second networks, with their names in tables."""


@dataclass(frozen=True)
class BlindCase:
    """One first network.

    Attributes:
        dataset: Its data set.
        kernels: Kernels of its first layer, of 16.
        seed: Its seed.
    """

    dataset: str
    kernels: int
    seed: int

    @property
    def part(self) -> str:
        """Name of its part."""
        return f"{self.dataset}.{self.kernels}.{self.seed}"


@dataclass(frozen=True)
class HarmlessSettings(Settings):
    """Settings of the experiment.

    Attributes:
        datasets: Data sets.
        kernels: Kernels of the first layers.
        seeds: Number of first networks of each.
        learners: Second networks, each with the numbers of kernels that it is trained for.
        images: Number of training images that are perturbed.
        eps: L∞ radius of the perturbations, in units of the pixel range.
        steps: Steps of the attack.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        count: Number of images whose harmless shares are measured for every attack.
        tests: Number of test images.
    """

    datasets: tuple[str, ...] = ("mnist", "fashion-mnist")
    kernels: tuple[int, ...] = (2, 4, 8)
    seeds: int = 3
    learners: tuple[tuple[str, tuple[int, ...]], ...] = (("linear", (2, 4, 8)), ("mlp", (2, 4, 8)))
    images: int = 2500
    eps: float = 0.3
    steps: int = 10
    epochs: int = 5
    batch: int = 64
    count: int = 300
    tests: int = 2000

    def learns(self, case: BlindCase) -> tuple[str, ...]:
        """The second networks that are trained for a first one."""
        return tuple(learner for learner, kernels in self.learners if case.kernels in kernels)


def cases(s: HarmlessSettings) -> list[BlindCase]:
    """All first networks."""
    return [BlindCase(dataset, k, seed) for dataset in s.datasets for k in s.kernels for seed in range(s.seeds)]


def for_preset(preset: Preset, seed: int) -> HarmlessSettings:
    """The settings of a preset; smoke has one first network and few images."""
    if preset == "smoke":
        few = (("linear", (4,)), ("mlp", (4,)))
        return HarmlessSettings(preset, seed, ("mnist",), (4,), 1, few, 60, 0.3, 3, 2, 20, 20, 60)
    if preset == "cpu":
        return HarmlessSettings(preset, seed, images=10_000)
    every = tuple((learner, (2, 4, 8)) for learner in LEARNERS)
    return HarmlessSettings(preset, seed, seeds=5, learners=every, images=30_000, steps=20, epochs=5, tests=10_000)
