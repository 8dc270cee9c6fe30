"""Figure 4: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

LAST, FIRST, WHOLE = "last linear layer", "first layer", "whole network"


@dataclass(frozen=True)
class Contour(Settings):
    """Settings of figure 4.

    Attributes:
        network: A built-in network, or one of the paper's.
        count: Number of perturbations, one per image.
        steps: Steps of PGD with eps = 8/255, which makes them; for features, their change under it.
        orthogonal: Lengths α of the orthogonal component, in norms of the perturbation; 1 is among them.
        parallel: Lengths β of the parallel component; 0 is among them.
        fine: Points of the map along each axis, an odd number.
    """

    network: str = "resnet18-ten"
    count: int = 50
    steps: int = 20
    orthogonal: tuple[float, ...] = (-2, -1, 0, 1, 2)
    parallel: tuple[float, ...] = (-16, -8, 0, 8, 16)
    fine: int = 25


def for_preset(preset: Preset, seed: int) -> Contour:
    """The settings of a preset; smoke has the shipped network."""
    if preset == "smoke":
        return Contour(preset, seed, "cifar-resnet", 2, 3, (-1, 0, 1), (-16, 0, 16), 5)
    return Contour(preset, seed) if preset == "cpu" else Contour(preset, seed, "resnet50-ten", 1000)
