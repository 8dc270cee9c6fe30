"""On and off the manifold: what the finished parts say about one kind of network, over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import acos, degrees, sqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..common.intervals import Estimate, bootstrap, median, over_random, ratio_of_medians
from ..parts import Kept, Parts
from .settings import ANOTHER, RANDOM, RANDOM_100, TANGENT, Case, OnOffSettings, groups, spaces_of

Array = NDArray[np.float64]

DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
KINDS = {"mlp": "MLP", "convnet": "ConvNet", "resnet20": "ResNet-20", "resnet20 of others": "ResNet-20 of others"}


ACCURACY_OF_OTHERS = 0.915
"""Test accuracy of the ResNet-20 of others, as its authors state it."""


@dataclass(frozen=True)
class Group:
    """Networks that differ by their seed.

    Attributes:
        case: The first of them.
        kept: Their finished parts.
        spaces: The subspaces in which they are measured.
    """

    case: Case
    kept: tuple[Kept, ...]
    spaces: tuple[str, ...]

    @property
    def name(self) -> str:
        """Data set and kind in words."""
        way = ", adversarially trained" if self.case.adversarial else ""
        way += f", trained {self.case.training}" if self.case.training else ""
        return f"{DATASETS[self.case.dataset]} {KINDS[self.case.kind]}{way}"

    @property
    def accuracy(self) -> float:
        """Mean accuracy on the test set; of the network of others the published one."""
        stated = [kept.values["network"]["test_accuracy"] for kept in self.kept]
        return ACCURACY_OF_OTHERS if None in stated else float(np.mean(stated))

    def k(self, space: str) -> int:
        """Dimension of the subspaces."""
        return 100 if space == RANDOM_100 else int(self.kept[0].values["k"])

    def chance(self, space: str) -> float:
        """Expected share in a random subspace, k/n."""
        return self.k(space) / int(self.kept[0].values["n"])

    def all(self, what: str) -> list[Tensor]:
        """A measurement of every network, ``(draws, N)``, equally many draws of each so that all weigh the same."""
        draws = min(len(kept.arrays[what]) for kept in self.kept)
        return [kept.arrays[what][:draws] for kept in self.kept]

    def share(self, space: str, what: str = "share") -> float:
        """Median share of the gradient in a subspace."""
        return float(np.median(np.concatenate([each.ravel() for each in self.all(f"{space}/{what}")])))

    def fraction(self, space: str) -> Estimate:
        """Median ‖P g‖/‖g‖."""
        return median([each.sqrt() for each in self.all(f"{space}/share")])

    def over_random(self, space: str) -> Estimate:
        """Median share over that in random subspaces of equal dimension."""
        return over_random(self.all(f"{space}/share"), self.all(f"{RANDOM}/share"))

    @property
    def here_over_elsewhere(self) -> Estimate:
        """Median share in the tangent space at the image over that in the tangent space of another image."""
        return ratio_of_medians(self.all(f"{TANGENT}/share"), self.all(f"{ANOTHER}/share"))

    def angle(self, space: str) -> float:
        """Median angle between gradient and subspace, in degrees."""
        return degrees(acos(min(sqrt(self.share(space)), 1.0)))

    def ratio(self, space: str, way: str) -> Estimate:
        """Median norm within the subspace (on) or within its complement (off) over the plain one."""
        return ratio_of_medians(self.all(f"{space}/{way}"), self.all("plain"))

    def law(self, space: str, way: str) -> Estimate:
        """How far the ratio of norms exceeds 1/√share (on) or 1/√(1 − share) (off), as a share of it."""

        def excess(medians: Sequence[Array]) -> Array:
            confined, plain, share = medians
            error: Array = confined / plain * np.sqrt(share if way == "on" else 1 - share) - 1
            return error

        return bootstrap(excess, [self.all(name) for name in (f"{space}/{way}", "plain", f"{space}/share")])

    def excess(self, space: str, way: str) -> float:
        """The estimate of ``law`` alone."""
        return self.law(space, way).value


def found(s: OnOffSettings, done: Parts) -> list[Group]:
    """All kinds of networks, in the order of tables."""
    return [Group(cases[0], tuple(done[case.part] for case in cases), spaces_of(s, cases[0])) for cases in groups(s)]
