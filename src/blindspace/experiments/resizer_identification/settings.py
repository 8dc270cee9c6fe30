"""Resizer identification: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ...maps.resizing.registry import RESIZERS
from ..parts import Preset, Settings

WAYS = ("real numbers", "rounded", "the library's bytes")
"""How the network's pictures are resized."""


@dataclass(frozen=True)
class ResizerIdentificationSettings(Settings):
    """Settings of the experiment.

    Attributes:
        network: Name of the built-in network behind the resize.
        size: (height, width) of the pictures asked, in pixels.
        queries: Largest number of pictures asked per identification.
        resizers: Names of the resizers.
        every: One of so many resizers is left out of the candidates for the control.
    """

    network: str = "cifar-resnet"
    size: tuple[int, int] = (101, 75)
    queries: int = 64
    resizers: tuple[str, ...] = tuple(RESIZERS)
    every: int = 6


def for_preset(preset: Preset, seed: int) -> ResizerIdentificationSettings:
    """The settings of a preset."""
    if preset == "smoke":
        some = ("pil box", "pil bicubic", "torch nearest", "opencv linear", "torch area")
        return ResizerIdentificationSettings(preset, seed, resizers=some, every=2)
    return ResizerIdentificationSettings(preset, seed)
