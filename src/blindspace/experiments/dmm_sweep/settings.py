"""The sweep over dimensions: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

FIRST, LAST, VARYING, RANDOM = (
    "first principal components",
    "last principal components",
    "last varying components",
    "random",
)
"""Names of controls (``manifolds.controls``)."""

FAMILIES = (FIRST, RANDOM, VARYING, LAST)


@dataclass(frozen=True)
class Sweep(Settings):
    """Settings of the sweep.

    Attributes:
        networks: Kind of network and data set of each part.
        grey: Dimensions k for grey images; the last is half of all.
        colour: The same for colour images.
        counts: Test images of the two.
        draws: Random subspaces of each dimension.
    """

    networks: tuple[tuple[str, str], ...] = (("mlp", "mnist"), ("convnet", "cifar10"))
    grey: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 392)
    colour: tuple[int, ...] = (8, 32, 128, 512, 1536)
    counts: tuple[int, int] = (80, 32)
    draws: int = 2

    def dims(self, dataset: str) -> tuple[int, ...]:
        """The dimensions k for a data set."""
        return self.colour if dataset == "cifar10" else self.grey


def part_name(kind: str, dataset: str) -> str:
    """Name of the part of one network."""
    return f"{dataset}.{kind}"


def for_preset(preset: Preset, seed: int) -> Sweep:
    """The settings of a preset."""
    if preset == "smoke":
        return Sweep(preset, seed, (("mlp", "mnist"),), (8, 128), counts=(5, 5), draws=1)
    if preset == "cpu":
        return Sweep(preset, seed)
    grey, colour = (4, 8, 16, 32, 64, 128, 256, 392), (8, 16, 32, 64, 128, 256, 512, 1024, 1536)
    networks = tuple(
        (kind, d) for d in ("mnist", "fashion-mnist", "cifar10") for kind in ("mlp", "convnet", "resnet20")
    )
    return Sweep(preset, seed, networks, grey, colour, counts=(300, 100), draws=10)
