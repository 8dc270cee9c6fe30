"""Where the boundaries differ: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

NOISE, NATURAL = "noise", "natural samples"
"""What is perturbed; noise is uniform, as the natural samples are."""


@dataclass(frozen=True)
class Setting:
    """What the second network learns from.

    Attributes:
        below: ``NOISE`` or ``NATURAL``.
        count: Number N_adv of perturbed samples.
        ratio: Size ρ of the perturbations.
    """

    below: str
    count: int
    ratio: float

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.below}, N_adv {self.count}, ρ {self.ratio:g}"


@dataclass(frozen=True)
class BoundarySettings(Settings):
    """Settings of the experiment.

    Attributes:
        seeds: Number of draws.
        dim: Number d of values of a sample.
        count: Number N of natural samples.
        slope: Slope γ.
        noises: Numbers of perturbed noise samples, ascending; the smaller sets are parts of the larger ones.
        ratios: Sizes ρ, ascending.
        correlations: Correlations with one perturbed sample at which both networks are compared.
        points: Fresh points, and points per correlation.
        slopes: Slopes of the networks in the pictures.
        width: Their number of neurons.
        steps: Their steps of gradient descent.
        side: Number of points of a picture along each axis.
    """

    seeds: int = 10
    dim: int = 1000
    count: int = 50
    slope: float = 0.5
    noises: tuple[int, ...] = (50, 100, 200, 400)
    ratios: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    correlations: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
    points: int = 2000
    slopes: tuple[float, ...] = (0.5, 0.01)
    width: int = 100
    steps: int = 2000
    side: int = 161

    @property
    def more(self) -> list[Setting]:
        """More and more perturbed noise, of the smallest size."""
        return [Setting(NOISE, count, self.ratios[0]) for count in self.noises]

    def larger(self, below: str) -> list[Setting]:
        """Larger and larger perturbations of as many samples as the first network has."""
        return [Setting(below, self.noises[0] if below == NOISE else self.count, ratio) for ratio in self.ratios]

    @property
    def all(self) -> list[Setting]:
        """All settings, each once."""
        return list(dict.fromkeys([*self.more, *self.larger(NOISE), *self.larger(NATURAL)]))


def for_preset(preset: Preset, seed: int) -> BoundarySettings:
    """The settings of a preset."""
    if preset == "smoke":
        return BoundarySettings(
            *(preset, seed, 2, 120, 8, 0.5, (8, 16), (1.0, 8.0), (0.0, 0.7), 60), width=6, steps=60, side=21
        )
    if preset == "cpu":
        return BoundarySettings(preset, seed)
    return BoundarySettings(preset, seed, 20, 10_000, 100, noises=(100, 300, 1000, 3000), points=5000, steps=10_000)
