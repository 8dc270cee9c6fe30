"""Figure 5a: settings, and the lines of the figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..common.models import NAMED
from ..parts import Preset, Settings

EPSILON = 8 / 255
CONTROLS = ("shuffled", "random subspace", "Gaussian")
Place = Literal["images", "removed", "kept", "both"]
"""Images; features, the skip connection past the layer removed or kept; kept, and harmless for it too."""

PLACES: dict[Place, str] = {
    "images": "images",
    "removed": "features, skip removed",
    "kept": "features, skip kept",
    "both": "features, skip kept, harmless for all readers",
}
SUFFIX: dict[Place, str] = {"images": "-ten", "removed": "-noskip", "kept": "", "both": ""}
DIMENSIONS = {"images": 512, "resnet18": 2048, "resnet50": 12288}
"""Dimensions in appendix F.2."""


@dataclass(frozen=True)
class Fig5a(Settings):
    """Settings of figure 5a.

    Attributes:
        architectures: Names of the networks.
        count: Number of test images.
        batch: Images per batch.
        steps: Steps of PGD; its step size is an eighth of eps (appendix F.2).
        magnitudes: Multiples α of the perturbation scaled to ‖δ‖∞ = eps: 8/255 for images, 8/255 of the sample's
            largest value for features.
        both: Architectures with perturbations harmless for the layer and for the skip connection past it.
    """

    architectures: tuple[str, ...] = ("resnet18", "resnet50")
    count: int = 1000
    batch: int = 100
    steps: int = 20
    magnitudes: tuple[int, ...] = tuple(2**k for k in range(9))
    both: tuple[str, ...] = ("resnet18",)


@dataclass(frozen=True)
class Case:
    """One line of the figure."""

    place: Place
    architecture: str

    @property
    def part(self) -> str:
        """Name of its part."""
        return f"{self.place}-{self.architecture}"

    @property
    def name(self) -> str:
        """Name in words."""
        return f"{NAMED[self.architecture]}, {PLACES[self.place]}"

    @property
    def flat(self) -> bool:
        """Whether theory predicts a constant accuracy."""
        return self.place != "kept"


def for_preset(preset: Preset, seed: int) -> Fig5a:
    """The settings of a preset."""
    if preset == "smoke":
        return Fig5a(preset, seed, ("resnet18",), 2, 2, 2, (1, 16, 256), ())
    return Fig5a(preset, seed, count=400 if preset == "cpu" else 10_000)


def cases(s: Fig5a) -> list[Case]:
    """Lines of the figure, in the order they are measured."""
    found = [Case(place, name) for place in ("images", "removed", "kept") for name in s.architectures]
    return [*found, *(Case("both", name) for name in s.both)]
