"""Redundant dimensions: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..parts import Preset, Settings

Init = Literal["per layer", "per weight"]
"""What is the same at every dimension n of the input: the variance 1/n times n, or the variance of one weight, 1/k."""

INITS: tuple[Init, ...] = ("per layer", "per weight")

Reads = Literal["pixels", "projected", "codes", "whitened", "long"]
"""What a network reads: all pixels; images projected on the first k principal components; their k coordinates; these
divided by their standard deviations; the coordinates again, trained for longer."""

WORDS: dict[Reads, str] = {
    "pixels": "pixels",
    "projected": "projected pixels",
    "codes": "codes",
    "whitened": "whitened codes",
    "long": "codes, long training",
}


@dataclass(frozen=True)
class DmmRedundancy(Settings):
    """Settings of the experiment on redundant dimensions.

    Attributes:
        seeds: Number of toy networks.
        manifold: Dimension k of the toy data.
        dims: Dimensions n that they are embedded in, ascending, the first one k.
        points: Number of toy points; their labels are random.
        width: Number m of hidden neurons.
        rate: Learning rate of full-batch descent.
        steps: Largest number of steps; training ends when all margins are 1.
        networks: Number of networks per kind on MNIST.
        components: Numbers k of principal components.
        epochs: Passes over the training images.
        longer: How much longer ``long`` trains.
        images: Number of test images to attack.
    """

    seeds: int = 20
    manifold: int = 16
    dims: tuple[int, ...] = (16, 32, 64, 256, 1024)
    points: int = 40
    width: int = 100
    rate: float = 1.0
    steps: int = 2000
    networks: int = 5
    components: tuple[int, ...] = (16, 64)
    epochs: int = 3
    longer: int = 5
    images: int = 60


def for_preset(preset: Preset, seed: int) -> DmmRedundancy:
    """The settings of a preset."""
    if preset == "smoke":
        return DmmRedundancy(
            preset, seed, 3, 4, (4, 32), 10, 30, steps=100, networks=2, components=(4,), epochs=10, longer=2, images=3
        )
    return DmmRedundancy(preset, seed)


@dataclass(frozen=True)
class Kind:
    """What one set of networks on MNIST reads."""

    reads: Reads
    components: int

    @property
    def part(self) -> str:
        """Name of its part."""
        return self.reads if self.reads == "pixels" else f"{self.reads}-{self.components}"

    @property
    def name(self) -> str:
        """Name in words."""
        return WORDS[self.reads] if self.reads == "pixels" else f"{WORDS[self.reads]}, k = {self.components}"

    @property
    def sees_all(self) -> bool:
        """Whether the network reads directions orthogonal to the components."""
        return self.reads in ("pixels", "projected")


def kinds(s: DmmRedundancy) -> list[Kind]:
    """The networks on MNIST."""
    reduced: tuple[Reads, ...] = ("projected", "codes", "whitened", "long")
    return [Kind("pixels", 0), *(Kind(reads, k) for k in s.components for reads in reduced)]


def toy_part(init: Init, dim: int) -> str:
    """Name of a toy's part."""
    return f"toy-{init.replace(' ', '-')}-{dim}"
