"""Artificial data: settings, sweeps and what second networks are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from ...learning.controls import FLIPPED, NOISE, PERMUTED, SAME_TARGET, SHUFFLED
from ...learning.geometry import Geometry
from ..parts import Preset, Settings

NORMS: tuple[Geometry, ...] = ("l2", "linf", "l0")

WRITTEN: dict[str, str] = {"l2": "L2", "linf": "L∞", "l0": "L0"}

GRADIENT = ("l2", "linf", "l0", "authors-l2", "authors-linf", "authors-l0")
"""Attacks on the network itself (``learning.rules.ATTACKS``)."""

SWEEPS = ("d", "N", "N_adv", "ε")

FROM_SHUFFLED = "first network trained on shuffled labels"

CONTROLS = (NOISE, SAME_TARGET, SHUFFLED, FLIPPED, PERMUTED)
"""Controls of gradient perturbations; no perturbation at all is measured at every point."""

BUDGET = 0.2467
"""The paper's L2 radius over √(d/N), for values from −1 to 1."""

LINF = 3.85
"""The paper's L∞ radius over its L2 radius, times √d: 0.03 against 0.78 for d = 10,000."""

KEPT = 0.05
"""The paper's share of values that L0 perturbations change."""


@dataclass(frozen=True)
class Point:
    """A point of a sweep.

    Attributes:
        dim: Number d of values of a sample.
        count: Number N of natural samples.
        noise: Number N_adv of perturbed samples.
        size: L2 radius over the paper's for this d and N.
    """

    dim: int
    count: int
    noise: int
    size: float = 1.0

    @property
    def eps(self) -> float:
        """The L2 radius."""
        return self.size * BUDGET * sqrt(self.dim / self.count)


@dataclass(frozen=True)
class ArtificialSettings(Settings):
    """Settings of the experiment.

    Attributes:
        seeds: Number of draws of data and networks at the base point.
        sweep_seeds: The same along the sweeps.
        base: The point that all others share their other values with.
        dims: d of the sweep.
        counts: N of the sweep.
        noises: N_adv of the sweep.
        sizes: Radii of the sweep, over the paper's.
        small: Radius at which attacks are compared, over the paper's: small enough that some samples are missed.
        wide: Number of neurons where the paper's main figure is reproduced.
        width: Number of neurons elsewhere.
        slope: Slope γ.
        steps: Steps of gradient descent.
        attack_steps: Steps of the attacks; L0 has one per value.
        points: Fresh points at which the signs of both networks are compared.
    """

    seeds: int = 10
    sweep_seeds: int = 5
    base: Point = Point(1000, 100, 1000)
    dims: tuple[int, ...] = (10, 50, 100, 250, 500, 750)
    counts: tuple[int, ...] = (200, 300, 500, 700, 1000)
    noises: tuple[int, ...] = (10, 30, 100, 300)
    sizes: tuple[float, ...] = (0.0128, 0.128, 0.385, 0.64)
    small: float = 0.2
    wide: int = 200
    width: int = 50
    slope: float = 0.01
    steps: int = 100
    attack_steps: int = 10
    points: int = 1000

    def sweep(self, of: str) -> dict[float, Point]:
        """The points of a sweep by the value that changes, in ascending order; the base point is one of them."""
        d, n, m = self.base.dim, self.base.count, self.base.noise
        made = {
            "d": {float(each): Point(each, n, m) for each in (*self.dims, d)},
            "N": {float(each): Point(d, each, m) for each in (n, *self.counts)},
            "N_adv": {float(each): Point(d, n, each) for each in (*self.noises, m)},
            "ε": {each: Point(d, n, m, each) for each in (*self.sizes, 1.0)},
        }
        return dict(sorted(made[of].items()))


def _by(values: tuple[float, ...], accuracies: tuple[float, ...]) -> dict[float, float]:
    return dict(zip(values, accuracies, strict=True))


_D, _N = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0), (1.0, 2.0, 3.0, 5.0, 7.0, 10.0)

PUBLISHED = {
    ("d", "l2"): _by(_D, (0.63, 0.69, 0.80, 0.91, 0.975, 0.99, 1.0)),
    ("d", "linf"): _by(_D, (0.70, 0.735, 0.80, 0.93, 0.985, 0.99, 1.0)),
    ("d", "l0"): _by(_D, (0.905, 0.65, 0.735, 0.77, 0.855, 0.90, 0.935)),
    ("N", "l2"): _by(_N, (1.0, 0.985, 0.96, 0.905, 0.855, 0.80)),
    ("N", "linf"): _by(_N, (1.0, 0.99, 0.96, 0.875, 0.855, 0.79)),
    ("N", "l0"): _by(_N, (0.935, 0.825, 0.755, 0.69, 0.655, 0.625)),
    ("ε", "l2"): {0.0128: 0.51, 0.128: 0.675, 0.385: 0.91, 0.64: 0.98, 1.0: 1.0},
}
"""The paper's accuracies, read off its figures, by the value that changes over that of its base point, d = 10,000,
N = 1000, N_adv = 10,000; one seed, 100,000 epochs."""


def for_preset(preset: Preset, seed: int) -> ArtificialSettings:
    """The settings of a preset; the published size is that of the preset paper, and needs a GPU."""
    if preset == "smoke":
        return ArtificialSettings(
            *(preset, seed, 2, 2, Point(60, 10, 40), (20,), (20,), (10,), (0.385,)),
            wide=8,
            width=6,
            steps=20,
            points=50,
        )
    if preset == "cpu":
        return ArtificialSettings(preset, seed)
    return ArtificialSettings(
        *(preset, seed, 10, 5, Point(10_000, 1000, 10_000), (100, 500, 1000, 2500, 5000, 7500)),
        counts=(2000, 3000, 5000, 7000, 10_000),
        noises=(1, 3, 10, 30, 100, 300, 1000, 3000),
        wide=1000,
        width=1000,
        steps=3000,
        attack_steps=100,
    )
