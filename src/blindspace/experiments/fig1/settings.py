"""Figure 1: settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..parts import Preset, Settings

INSIDE, BEYOND, NOISE = "inside [0, 1]", "beyond [0, 1]", "Gaussian noise of equal norm"
KINDS = (INSIDE, BEYOND, NOISE)
DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True)
class Fig1(Settings):
    """Settings of figure 1.

    Attributes:
        network: A built-in network, or one of the paper's.
        count: Number of test images, of which the first correctly classified one per class is taken.
        shown: Images in the picture.
        iterations: Iterations of the search for the largest perturbation; None for the default of ``largest``.
        magnitude: ‖δ‖∞ of the perturbations that leave [0, 1].
    """

    network: str = "resnet50-ten"
    count: int = 100
    shown: int = 6
    iterations: int | None = None
    magnitude: float = 4.0


def for_preset(preset: Preset, seed: int) -> Fig1:
    """The settings of a preset; smoke has the shipped network, whose labels are meaningful."""
    if preset == "smoke":
        return Fig1(preset, seed, "cifar-resnet", count=20, shown=3, iterations=60)
    return Fig1(preset, seed)
