"""Learning from adversarial examples: what the finished parts say about one kind of network, over its seeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..common.classifier_cases import SeedGroup
from ..common.intervals import Estimate, median, of_mean, ratio_of_medians
from ..parts import Parts
from .settings import IlyasSettings, groups


@dataclass(frozen=True)
class Group(SeedGroup):
    """Networks N1 that differ by their seed, with their students."""

    def accuracies(self, cell: str) -> torch.Tensor:
        """Accuracy on test images of the student of each seed, or of N1, ``(seeds,)``."""
        return torch.tensor([kept.values["right"][cell] / kept.values["tests"] for kept in self.kept]).double()

    def accuracy(self, cell: str) -> Estimate:
        """Mean accuracy over the seeds, with Student's interval."""
        return mean(self.accuracies(cell))

    def difference(self, cell: str, other: str) -> Estimate:
        """Accuracy of one student minus that of another, over the seeds."""
        return mean(self.accuracies(cell) - self.accuracies(other))

    def norm(self, cell: str) -> Estimate:
        """Median of the smallest norms; a misclassified image counts as 0."""
        return median([kept.arrays[f"{cell}/norm"] for kept in self.kept])

    def norms_over(self, cell: str, other: str) -> Estimate:
        """Ratio of two such medians, over the same images."""
        ours, theirs = ([kept.arrays[f"{each}/norm"] for kept in self.kept] for each in (cell, other))
        return ratio_of_medians(ours, theirs)

    def share(self, cell: str) -> Estimate:
        """Median share of the gradient in the tangent spaces."""
        return median([kept.arrays[f"{cell}/share"] for kept in self.kept])

    @property
    def perturbations(self) -> Estimate:
        """Median share of the perturbations in the tangent spaces."""
        return median([kept.arrays["share of the perturbation"] for kept in self.kept])


def mean(values: torch.Tensor) -> Estimate:
    """Mean with Student's interval."""
    return Estimate(float(values.mean()), of_mean(values))


def found(s: IlyasSettings, done: Parts) -> list[Group]:
    """All kinds of networks, in the order of tables."""
    return [Group(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]
