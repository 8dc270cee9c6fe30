"""."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..experiment import Preset, Settings

if TYPE_CHECKING:
    pass


LAST, FIRST, WHOLE = "last linear layer", "first layer", "whole network"


@dataclass(frozen=True)
class Contour(Settings):
    """Settings of figure 4.

    Attributes:
        network: built-in, or one of the paper's.
        count: perturbations, one an image.
        steps: of PGD with ε = 8/255, which makes them; on features, what it changes there.
        orthogonal: lengths α of the orthogonal component, in norms of the perturbation; 1 is among them.
        parallel: lengths β of the parallel one; 0 is among them.
        fine: points of the map along each axis, an odd number.
    """

    network: str = "resnet18-ten"
    count: int = 50
    steps: int = 20
    orthogonal: tuple[float, ...] = (-2, -1, 0, 1, 2)
    parallel: tuple[float, ...] = (-16, -8, 0, 8, 16)
    fine: int = 25


def for_preset(preset: Preset, seed: int) -> Contour:
    """Of a preset; smoke has the shipped network."""
    if preset == "smoke":
        return Contour(preset, seed, "cifar-resnet", 2, 3, (-1, 0, 1), (-16, 0, 16), 5)
    return Contour(preset, seed) if preset == "cpu" else Contour(preset, seed, "resnet50-ten", 1000)
