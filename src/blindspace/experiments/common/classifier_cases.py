"""The small classifiers that an experiment measures, one by one and over their seeds."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Kept
from .classifier_names import DATASETS, KINDS

GREY: tuple[tuple[str, str], ...] = (
    ("mnist", "mlp"),
    ("mnist", "convnet"),
    ("fashion-mnist", "mlp"),
    ("fashion-mnist", "convnet"),
)
"""Data sets of grey images, each with the kinds of classifiers that train in a minute."""


@dataclass(frozen=True)
class Case:
    """One classifier, or what is made of it: its data set, kind and seed."""

    dataset: str
    kind: str
    seed: int

    @property
    def part(self) -> str:
        """Name of its part."""
        return f"{self.dataset}.{self.kind}.{self.seed}"


def by_seed(dataset: str, kind: str, seeds: int) -> tuple[Case, ...]:
    """The classifiers of one data set and kind, which differ by their seed only."""
    return tuple(Case(dataset, kind, seed) for seed in range(seeds))


@dataclass(frozen=True)
class SeedGroup:
    """The finished parts of classifiers that differ by their seed.

    Attributes:
        case: The first of them.
        kept: Their finished parts.
    """

    case: Case
    kept: tuple[Kept, ...]

    @property
    def name(self) -> str:
        """Data set and kind in words."""
        return f"{DATASETS[self.case.dataset]} {KINDS[self.case.kind]}"
