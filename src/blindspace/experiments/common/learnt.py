"""What finished parts say about second networks that learnt from perturbations: estimates over seeds, and their rows.

A part keeps ``students``, by the name of what each learnt from, and ``sets``, by the name of the perturbed samples (see
``learning.py``). The accuracy is that after the last epoch unless it is said: the best epoch is chosen by test labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..experiment import Row
from ..parts import Kept
from .classifier_cases import SeedGroup
from .intervals import Estimate, of_mean

CHANCE = 0.1
"""Accuracy of a network that knows nothing of ten classes."""

Which = Literal["last", "best"]


def mean(values: Tensor) -> Estimate:
    """The mean of one value per seed, with Student's interval."""
    return Estimate(float(values.double().mean()), of_mean(values))


def null(values: Tensor) -> Estimate:
    """The null distribution of a figure over seeds: its mean, and the range that holds 95 % of single values.

    An agreement of two networks without anything learnt may be near 0 or near 1 where data are of low rank, so that its
    mean and the interval of that mean say nothing about a single run.
    """
    ends = torch.quantile(values.double(), torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Estimate(float(values.double().mean()), (float(ends[0]), float(ends[1])))


def accuracies(kept: Sequence[Kept], cell: str, which: Which = "last") -> Tensor:
    """Accuracy on clean test images of the student of each seed, ``(seeds,)``."""
    curves = [part.values["students"][cell]["test"] for part in kept]
    return torch.tensor([max(curve) if which == "best" else curve[-1] for curve in curves], dtype=torch.float64)


def over_epochs(kept: Sequence[Kept], cell: str, what: str = "test") -> Tensor:
    """Figures ``(seeds, epochs)`` of the students: test, training or loss."""
    return torch.tensor([part.values["students"][cell][what] for part in kept], dtype=torch.float64)


def of_sets(kept: Sequence[Kept], name: str, what: str = "success") -> Tensor:
    """A figure of the perturbed samples of each seed, ``(seeds,)``."""
    return torch.tensor([part.values["sets"][name][what] for part in kept], dtype=torch.float64)


def by_class(kept: Sequence[Kept], values: str, name: str) -> list[float | None]:
    """Means over the seeds for each class: ``students`` by true class, ``sets`` by target; None without any image."""
    key = "by target" if values == "sets" else "by class"
    lists: list[list[Any]] = [part.values[values][name][key] for part in kept]
    found = ([share for share in each if share is not None] for each in zip(*lists, strict=True))
    return [sum(each) / len(each) if each else None for each in found]


@dataclass(frozen=True)
class Learners(SeedGroup):
    """Students of first networks that differ by their seed."""

    def accuracy(self, cell: str, which: Which = "last") -> Estimate:
        """Mean accuracy over the seeds."""
        return mean(accuracies(self.kept, cell, which))

    def difference(self, cell: str, other: str) -> Estimate:
        """Accuracy of one student minus that of another, over the seeds."""
        return mean(accuracies(self.kept, cell) - accuracies(self.kept, other))

    def success(self, name: str) -> Estimate:
        """Share of perturbed samples in which the first network sees the target."""
        return mean(of_sets(self.kept, name))

    def row(
        self, cell: str, reference: float | None = None, reason: str = "", control: bool = False, case: str = ""
    ) -> Row:
        """The accuracy after the last epoch; the remark has the seeds' and the best epoch's."""
        of = self.accuracy(cell)
        seeds = ", ".join(f"{value:.3f}" for value in accuracies(self.kept, cell).tolist())
        words = f"seeds {seeds}; best epoch {self.accuracy(cell, 'best').value:.3f}"
        name = case or f"{self.name}, {cell}"
        said = f"{words}; {reason}" if reason else words
        return Row(name, "accuracy on clean test images", of.value, reference, of.interval, control, said, ".3f")


def low(of: Estimate) -> float:
    """The lower end of an interval, or the value where there is none."""
    return of.interval[0] if of.interval else of.value


def high(of: Estimate) -> float:
    """The upper end of an interval, or the value where there is none."""
    return of.interval[1] if of.interval else of.value
