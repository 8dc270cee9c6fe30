"""Table 1: settings, and the paper's figures."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

EPSILON = 8 / 255
PAPER = {
    "Gaussian": (0.1226, 0.3154, 0.8112, 1.7871, 3.3921, 5.0009),
    "adversarial": (6.1994, 6.3225, 5.5410, 5.6122, 6.6585, 11.2747),
    "harmless": (3.63e-15, 3.70e-15, 3.77e-15, 4.20e-15, 5.38e-15, 8.55e-15),
    "least harmful": (0.0003, 0.0007, 0.0013, 0.0027, 0.0053, 0.0105),
}
KINDS = (
    *PAPER,
    "one ulp",
    "shuffled",
    "random subspace",
    "Gaussian, unmodified network",
    "Gaussian, equal ‖δ‖₂",
    "Gaussian, equal ‖δ‖∞",
    "least harmful, equal ‖δ‖∞",
)
"""The paper's rows, and ours: the rounding floor and the controls."""


@dataclass(frozen=True)
class Table1(Settings):
    """Settings of table 1.

    Attributes:
        architecture: Architecture of the two networks, one with a stem of ten kernels and one unmodified.
        count: Number of test images.
        batch: Images per batch.
        steps: Steps of PGD; its step size is 1/255 (appendix F.2).
        multiples: Multiples of ε = 8/255.
    """

    architecture: str = "resnet50"
    count: int = 300
    batch: int = 100
    steps: int = 20
    multiples: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


def for_preset(preset: Preset, seed: int) -> Table1:
    """The settings of a preset."""
    if preset == "smoke":
        return Table1(preset, seed, "resnet18", count=4, batch=4, steps=2)
    return Table1(preset, seed, count=300 if preset == "cpu" else 10_000)
