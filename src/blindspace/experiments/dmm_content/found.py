"""Content of perturbations: what the finished parts say about one kind of network, over its seeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.classifier_cases import SeedGroup
from ..common.intervals import Estimate, of_mean
from ..parts import Parts
from .settings import ContentSettings, groups


@dataclass(frozen=True)
class Group(SeedGroup):
    """Attacked networks that differ by their seed.

    Attributes:
        count: Number of test images, of which each part measures those that all its networks classify correctly.
    """

    count: int

    def per_image(self, what: str) -> Tensor:
        """The mean over seeds and draws for each test image, NaN where no part measures it, ``(count,)``.

        The test images are common to the seeds, so that intervals are computed over images.
        """
        total, times = torch.zeros(self.count, dtype=torch.float64), torch.zeros(self.count)
        for kept in self.kept:
            values = kept.arrays[what].double().mean(0)
            total.index_add_(0, kept.arrays["index"], values)
            times.index_add_(0, kept.arrays["index"], torch.ones(len(values)))
        return total / times

    def share(self, space: str, size: float, what: str, clipped: bool = False) -> Estimate:
        """Share of images, such as those about which an observer agrees."""
        return _mean(self.per_image(_key(space, size, what, clipped)))

    def difference(self, space: str, other: str, size: float, what: str) -> Estimate:
        """The share for one subspace minus that for another, over the same images."""
        return _mean(self.per_image(_key(space, size, what)) - self.per_image(_key(other, size, what)))

    def given(self, space: str, size: float, what: str) -> float | None:
        """Share among the images whose label changed; None if none did."""
        agreed, changed = (self.share(space, size, each).value for each in (what, "changed"))
        return agreed / changed if changed else None


def _key(space: str, size: float, what: str, clipped: bool = False) -> str:
    return f"{space}/{size}/{'clipped ' if clipped else ''}{what}"


def _mean(values: Tensor) -> Estimate:
    known = values[~values.isnan()]
    return Estimate(float(known.mean()), of_mean(known))


def found(s: ContentSettings, done: Parts) -> list[Group]:
    """All kinds of networks, in the order of tables."""
    return [Group(cases[0], tuple(done[case.part] for case in cases), s.count) for cases in groups(s)]
