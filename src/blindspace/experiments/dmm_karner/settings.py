"""The published reproduction: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..parts import Preset, Settings

TANGENT, PCA, RANDOM = "autoencoder tangent", "first principal components", "random"
SPACES = (TANGENT, PCA, RANDOM)

SCALE = 2.0
"""Units of the reproduction per unit of the pixel range: its images are in [−1, 1]."""


class Way(NamedTuple):
    """One attack of the reproduction: radius of the ball, step, both in its units, and its limit of iterations."""

    eps: float
    step: float
    limit: int


WAYS = {"plain": Way(10.0, 0.02, 50), "on": Way(10.0, 0.2, 1000), "off": Way(10.0, 0.02, 1000)}
"""Its attacks. Its plain ball of 2 is out of reach within 50 steps of 0.02; without that limit the ball would be one of
its own, and so is as large as the others here."""

PUBLISHED = {"plain": 0.63, "on": 1.50, "off": 0.68}
"""Medians of the path lengths of the images that it selects."""

SELECTED = 40 / 1041
"""Share of the attacked images that it selects."""


@dataclass(frozen=True)
class Karner(Settings):
    """Settings of the experiment.

    Attributes:
        count: Test images.
        seeds: Networks.
        iterations: Largest number of iterations of every attack, where there is no limit of the reproduction's.
    """

    count: int = 300
    seeds: int = 2
    iterations: int = 1000


def part_name(seed: int) -> str:
    """Name of the part of one network."""
    return f"mlp.{seed}"


def for_preset(preset: Preset, seed: int) -> Karner:
    """The settings of a preset."""
    if preset == "smoke":
        return Karner(preset, seed, 8, 1, 60)
    return Karner(preset, seed) if preset == "cpu" else Karner(preset, seed, 1041, 5)
