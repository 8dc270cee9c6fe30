"""Depth of the dimples: what the finished parts say about one kind of network, over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.classifier_cases import SeedGroup
from ..common.intervals import Estimate, bootstrap, of_mean, over_random, ratio_of_medians
from ..parts import Parts
from .settings import ADVERSARIAL, ANOTHER, RANDOM, STANDARD, TANGENT, DepthSettings, groups

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Group(SeedGroup):
    """Pairs of networks that differ by their seed."""

    def all(self, what: str) -> list[Tensor]:
        """A measurement of every network, such as ``standard/plain``."""
        return [kept.arrays[what] for kept in self.kept]

    @property
    def chance(self) -> float:
        """Expected share in a random subspace, k/n."""
        return float(self.kept[0].values["k"] / self.kept[0].values["n"])

    @property
    def images(self) -> tuple[int, int]:
        """Number of measured images, and of all, over the seeds."""
        return sum(kept.values["images"] for kept in self.kept), sum(kept.values["of"] for kept in self.kept)

    def share(self, way: str, space: str) -> Estimate:
        """Median share of the gradient in a subspace."""
        return bootstrap(lambda medians: medians[0], [self.all(f"{way}/{space}/share")])

    def share_over_random(self, way: str, space: str) -> Estimate:
        """The same over that in random subspaces."""
        return over_random(self.all(f"{way}/{space}/share"), self.all(f"{way}/{RANDOM}/share"))

    def local(self, way: str) -> Estimate:
        """Share in the tangent space at the image over that in another image's."""
        return ratio_of_medians(self.all(f"{way}/{TANGENT}/share"), self.all(f"{way}/{ANOTHER}/share"))

    def norm(self, way: str, what: str = "plain") -> Estimate:
        """Median norm."""
        return bootstrap(lambda medians: medians[0], [self.all(f"{way}/{what}")])

    def over_plain(self, way: str, space: str, side: str) -> Estimate:
        """Median norm on or off a subspace over the plain one."""
        return ratio_of_medians(self.all(f"{way}/{space}/{side}"), self.all(f"{way}/plain"))

    def growth(self, what: str) -> Estimate:
        """Median norm of the adversarially trained networks over that of the standard ones."""
        return ratio_of_medians(self.all(f"{ADVERSARIAL}/{what}"), self.all(f"{STANDARD}/{what}"))

    def deepening(self, space: str = TANGENT) -> Estimate:
        """Growth of the norm off a subspace over growth of the norm on it."""

        def statistic(medians: Sequence[Array]) -> Array:
            off, before_off, on, before_on = medians
            ratio: Array = off / before_off / (on / before_on)
            return ratio

        names = [f"{way}/{space}/{side}" for side in ("off", "on") for way in (ADVERSARIAL, STANDARD)]
        return bootstrap(statistic, [self.all(name) for name in names])

    def mean(self, way: str, what: str) -> Estimate:
        """Mean accuracy over the seeds, with Student's interval."""
        return _mean(torch.tensor([kept.values[way][what] for kept in self.kept]))

    def difference(self, what: str) -> Estimate:
        """Accuracy of the adversarially trained networks minus that of the standard ones, over the seeds."""
        pairs = [(kept.values[ADVERSARIAL][what], kept.values[STANDARD][what]) for kept in self.kept]
        return _mean(torch.tensor([a - b for a, b in pairs], dtype=torch.float64))

    def gap(self, way: str) -> Estimate:
        """Accuracy on training images minus that on test images, over the seeds."""
        of = [kept.values[way] for kept in self.kept]
        return _mean(torch.tensor([each["training"] - each["test"] for each in of], dtype=torch.float64))

    def widening(self) -> Estimate:
        """How much larger that gap is after adversarial training, over the seeds."""
        gaps = [
            [kept.values[way]["training"] - kept.values[way]["test"] for kept in self.kept]
            for way in (ADVERSARIAL, STANDARD)
        ]
        return _mean(torch.tensor(gaps[0], dtype=torch.float64) - torch.tensor(gaps[1], dtype=torch.float64))


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.double().mean()), of_mean(values))


def found(s: DepthSettings, done: Parts) -> list[Group]:
    """All kinds of networks, in the order of tables."""
    return [Group(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]
