"""Norm-saving: the results of one attack on one network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from ..common.victims import ROBUST, runs
from ..parts import Kept, Parts
from .attacks import WAYS, Way
from .settings import CUTS, VIT, NormSaving, part_name

NAMED = {
    "cifar-resnet@96": "cifar-resnet behind a resize from 96×96",
    VIT: "ViT of random weights, patches of 16",
    ROBUST: "ViT ibp_3_3_8, patches of 8",
    **{layer: f"features that {layer} of ResNet-18 reads" for layer in CUTS},
}


@dataclass(frozen=True)
class Found:
    """An attack on a network.

    Attributes:
        name: Name of the network.
        way: The attack.
        kept: The finished part.
    """

    name: str
    way: Way
    kept: Kept

    def of(self, what: str) -> Tensor:
        """A quantity of ``measure`` for all inputs."""
        return self.kept.arrays[f"{self.way.name}|{what}"]

    @property
    def hit(self) -> Tensor:
        """Whether the attack succeeds, with a non-zero perturbation."""
        return self.of("success") & (self.of("l2") > 0)

    @property
    def share(self) -> Tensor:
        """Harmless share of the energy where it succeeds."""
        return self.of("share")[self.hit]

    @property
    def in_range(self) -> bool:
        """Whether the smallest perturbation in [0, 1] was computed."""
        return f"{self.way.name}|ranged l2" in self.kept.arrays

    @property
    def saved(self) -> Tensor:
        """1 − ‖δ'‖ / ‖δ‖ in L2 for the smallest δ' of equal effect, in [0, 1] if that was computed."""
        less = self.of("ranged l2" if self.in_range else "rest l2")
        return (1 - less / self.of("l2")[: len(less)]).clamp(min=0)[self.hit[: len(less)]]


def attacks(s: NormSaving, done: Parts) -> Iterator[Found]:
    """Every attack on every network that was run."""
    for name, groups in s.plan:
        for group, _ in groups if runs(name, s.present) else ():
            yield from (Found(name, way, done[part_name(name, group)]) for way in WAYS[group])


def called(name: str) -> str:
    """A network or layer of the plan in words."""
    return NAMED.get(name, name)
