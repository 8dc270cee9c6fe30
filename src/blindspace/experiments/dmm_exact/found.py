"""Exact manifold: what the finished parts say about the networks of one set of generated digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..common.intervals import Estimate, median, over_random, ratio_of_medians
from ..parts import Parts
from .settings import EXACT, RANDOM, RECONSTRUCTED, ExactSettings


@dataclass(frozen=True)
class Found:
    """The finished parts of one source of digits."""

    s: ExactSettings
    done: Parts
    source: str

    @property
    def prefix(self) -> str:
        """What stands before the names of its cases."""
        return "" if self.source == RECONSTRUCTED else f"{self.source} digits, "

    @property
    def digits(self) -> dict[str, Any]:
        """Facts about the digits."""
        return self.done[f"{self.source}-digits"].values

    def values(self, name: str) -> Tensor:
        """A number of every pair of networks, ``(seeds,)``."""
        return torch.tensor([self.done[f"{self.source}-{seed}"].values[name] for seed in range(self.s.seeds)])

    def all(self, what: str) -> list[Tensor]:
        """A measurement of every pair of networks."""
        return [self.done[f"{self.source}-{seed}"].arrays[what] for seed in range(self.s.seeds)]

    def fraction(self, way: str, space: str, what: str = "share") -> Estimate:
        """Median ‖P g‖/‖g‖."""
        return median([each.sqrt() for each in self.all(f"{way}/{space}/{what}")])

    def shares(self, above: tuple[str, str], below: tuple[str, str]) -> Estimate:
        """The ratio of two median shares, each of a way of training and a subspace."""
        (way, space), (other_way, other) = above, below
        return ratio_of_medians(self.all(f"{way}/{space}/share"), self.all(f"{other_way}/{other}/share"))

    @property
    def turned(self) -> Estimate:
        """Median share in the exact tangent space after adversarial training over that after standard training."""
        return self.shares(("adversarial", EXACT), ("standard", EXACT))

    def to_random(self, way: str, space: str = EXACT) -> Estimate:
        """Median share over that in random subspaces of equal dimension."""
        return over_random(self.all(f"{way}/{space}/share"), self.all(f"{way}/{RANDOM}/share"))

    def norms(self, way: str, space: str, side: str) -> Estimate:
        """Median norm in the subspace (on) or in its complement (off) over the plain one."""
        return ratio_of_medians(self.all(f"{way}/{space}/{side}"), self.all(f"{way}/plain"))


def side_of_1(ratio: Estimate) -> int:
    """1 where a ratio is above 1 with its interval, −1 where it is below, 0 where its interval holds 1."""
    low, high = ratio.interval or (0.0, float("inf"))
    return (low > 1) - (high < 1)
