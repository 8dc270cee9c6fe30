"""Figure 5b: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

EPSILON, RIM = 8 / 255, 4
LEAST, GAUSSIAN = "least harmful", "Gaussian"
EQUAL = "Gaussian, equal L2"
UNIT, SIGMA = "least harmful, ‖δ‖₂ = αε", "Gaussian, σ = αε"
SHUFFLED, RANDOM, MOST = "shuffled", "random direction", "most harmful"
COMPARED, CONTROLS = (LEAST, GAUSSIAN, EQUAL), (SHUFFLED, RANDOM, MOST)
IN_FLOAT64 = (LEAST, UNIT)
"""Kinds whose effect is below the rounding of float32; the others are evaluated in the model's own precision."""

KINDS = (LEAST, GAUSSIAN, EQUAL, UNIT, SIGMA, *CONTROLS)
"""Least harmful and Gaussian with ‖δ‖∞ = αε; Gaussian and the controls with the same L2 norm; a unit vector and N(0, 1)
per pixel, both times αε, as lemma 2 and section 3.3 say literally.
"""


@dataclass(frozen=True)
class Fig5b(Settings):
    """Settings of figure 5b.

    Attributes:
        architectures: Names of the unmodified networks.
        count: Number of test images.
        batch: Images per batch.
        magnitudes: Multiples α of ε = 8/255.
    """

    architectures: tuple[str, ...] = ("resnet18", "resnet50")
    count: int = 1000
    batch: int = 100
    magnitudes: tuple[int, ...] = tuple(2**k for k in range(9))


def for_preset(preset: Preset, seed: int) -> Fig5b:
    """The settings of a preset."""
    if preset == "smoke":
        return Fig5b(preset, seed, ("resnet18",), 8, 8, (1, 16, 256))
    return Fig5b(preset, seed, count=500 if preset == "cpu" else 10_000)
