"""Random targets against those that the true class determines: settings, and the names of students."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

RANDOM, NEXT = "D_rand", "D_det"
"""Sets: random targets, and the class after the true one."""

TARGETS, GIVEN, NONE = "targets", "N1's labels of the perturbed images", "targets, without perturbations"
"""What is learnt."""

SAME, OTHER = "same architecture", "other architecture"


def name(which: str, what: str, by: str) -> str:
    """Name of a student."""
    return f"{which}, {what}, {by}"


STUDENTS = tuple(
    name(which, what, by)
    for which in (RANDOM, NEXT)
    for what, by in ((TARGETS, SAME), (TARGETS, OTHER), (GIVEN, SAME), (NONE, OTHER))
)
"""All students; without perturbations the cheaper of the architectures is enough."""


@dataclass(frozen=True)
class IlyasSetsSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of N1, kind of another architecture, and number of perturbed training images.
        seeds: Number of networks N1 of each.
        steps: Steps of the attacks, in L2 balls of the paper's radius.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str, str, int], ...] = (
        ("mnist", "convnet", "mlp", 6_000),
        ("cifar10", "convnet", "mlp", 4_000),
    )
    seeds: int = 3
    steps: int = 10
    epochs: int = 6
    batch: int = 64
    tests: int = 10_000

    def of(self, case: Case) -> tuple[str, int]:
        """The other architecture, and the number of images."""
        return next((o, n) for dataset, kind, o, n in self.makers if (dataset, kind) == (case.dataset, case.kind))


def groups(s: IlyasSetsSettings) -> list[tuple[Case, ...]]:
    """The networks N1 that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind, _, _ in s.makers]


def for_preset(preset: Preset, seed: int) -> IlyasSetsSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return IlyasSetsSettings(preset, seed, (("mnist", "mlp", "convnet", 60),), 1, 2, 2, 20, 60)
    if preset == "cpu":
        return IlyasSetsSettings(preset, seed)
    makers = (("mnist", "convnet", "mlp", 60_000), ("cifar10", "resnet20", "convnet", 50_000))
    return IlyasSetsSettings(preset, seed, makers, 5, 100, 100, 128)
