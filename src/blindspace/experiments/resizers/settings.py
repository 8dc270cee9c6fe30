"""Resizers: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ...maps.resizing.registry import LIBRARIES
from ..parts import Preset, Settings

Size = tuple[int, int]


@dataclass(frozen=True)
class ResizersSettings(Settings):
    """Settings of the experiment.

    Attributes:
        count: Number of random sizes; half as many more are given, such as single rows.
        most: Largest side of an image of random size, in pixels.
        libraries: The libraries, as the registry of resizers calls them.
        sizes: Sizes (before, after) at which properties of the maps are determined.
    """

    count: int = 20
    most: int = 60
    libraries: tuple[str, ...] = LIBRARIES
    sizes: tuple[tuple[Size, Size], ...] = (((256, 256), (64, 64)), ((480, 640), (224, 224)))


def for_preset(preset: Preset, seed: int) -> ResizersSettings:
    """The settings of a preset."""
    if preset == "smoke":
        return ResizersSettings(preset, seed, 3, 20, ("pil", "opencv"), (((32, 32), (8, 8)),))
    return ResizersSettings(preset, seed, 20 if preset == "cpu" else 200)
