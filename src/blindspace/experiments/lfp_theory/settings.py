"""Reach of the theory: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.binary_samples import GAUSSIAN, MNIST, ORTHOGONAL, UNIFORM
from ..parts import Preset, Settings


@dataclass(frozen=True)
class Case:
    """Data of a kind, and a network.

    Attributes:
        kind: Kind of samples (``common.binary_samples``).
        count: Number N of samples.
        dim: Number d of values of each.
        slope: Slope γ of the leaky ReLU.
    """

    kind: str
    count: int
    dim: int
    slope: float

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.kind}, N {self.count}, d {self.dim}, γ {self.slope:g}"


NAMED = (Case(ORTHOGONAL, 50, 200, 0.1), Case(UNIFORM, 4, 3600, 0.9), Case(UNIFORM, 50, 1000, 0.5))
"""Cases that earlier measurements had: the condition holds in the first two, and is violated by 150 in the third."""

PAIRS = (MNIST.format(1, 2), MNIST.format(4, 9))

KINDS = (ORTHOGONAL, UNIFORM, GAUSSIAN, *PAIRS)


@dataclass(frozen=True)
class TheorySettings(Settings):
    """Settings of the experiment.

    Attributes:
        seeds: Number of draws of data and initial weights of the named cases.
        grid_seeds: The same for each case of the grid.
        counts: N of the grid.
        dims: d of the grid of random samples.
        slopes: γ of the grid.
        named: The cases that are measured with more steps, and from which a second network learns.
        ratios: Sizes ρ of the perturbations.
        width: Number of neurons.
        start: Standard deviation of the small initial weights.
        steps: Steps of gradient descent, in the grid.
        long: Steps of gradient descent, in the named cases.
        points: Points to compare networks at.
    """

    seeds: int = 3
    grid_seeds: int = 2
    counts: tuple[int, ...] = (10, 30, 100)
    dims: tuple[int, ...] = (100, 300, 1000, 3000)
    slopes: tuple[float, ...] = (0.01, 0.1, 0.5, 0.9)
    named: tuple[Case, ...] = NAMED
    ratios: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    width: int = 100
    start: float = 1e-6
    steps: int = 2000
    long: int = 10_000
    points: int = 2000

    def grid(self, kind: str) -> list[Case]:
        """The cases of a kind; orthogonal samples and digits have one dimension."""
        dims = self.dims
        if kind.startswith("MNIST"):
            dims = (784,)
        elif kind == ORTHOGONAL:
            dims = self.dims[1:2]
        return [Case(kind, n, d, slope) for n in self.counts for d in dims for slope in self.slopes]


def for_preset(preset: Preset, seed: int) -> TheorySettings:
    """The settings of a preset."""
    if preset == "smoke":
        named = (Case(ORTHOGONAL, 6, 20, 0.1), Case(UNIFORM, 4, 400, 0.9))
        return TheorySettings(
            *(preset, seed, 2, 2, (8,), (40, 80), (0.1, 0.9), named, (0.5, 4.0)),
            width=10,
            steps=200,
            long=400,
            points=100,
        )
    if preset == "cpu":
        return TheorySettings(preset, seed)
    return TheorySettings(preset, seed, 10, 5, (10, 30, 100, 300, 1000), (100, 300, 1000, 3000, 10_000))
