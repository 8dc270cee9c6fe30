"""Resizer identification: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ...maps.resizing.registry import RESIZERS
from ..parts import Preset, Settings

WAYS = ("real numbers", "rounded", "the library's bytes")
"""How the network's pictures are resized."""

SizeAsked = int | tuple[int, int]
"""A size after the resize: (height, width), or one number for the shorter side."""


@dataclass(frozen=True)
class Several:
    """Identification of the resizer and the size at once.

    Attributes:
        size: (height, width) of the pictures asked, in pixels.
        crop: Side of the square in the middle that the network reads, in pixels; None if it reads all.
        sizes: Sizes that come into question; the resizers take turns in them.
        every: One of so many resizers is tried.
    """

    size: tuple[int, int]
    crop: int | None
    sizes: tuple[SizeAsked, ...]
    every: int = 1


@dataclass(frozen=True)
class ResizerIdentificationSettings(Settings):
    """Settings of the experiment.

    Attributes:
        network: Name of the built-in network behind the resize; it averages over all positions, so that it reads
            larger pictures than those it was trained with too.
        size: (height, width) of the pictures asked, in pixels.
        queries: Largest number of pictures asked per identification.
        resizers: Names of the resizers.
        every: One of so many resizers is left out of the candidates for the control.
        several: Several sizes at once.
        large: The same for a larger picture.
    """

    network: str = "cifar-resnet"
    size: tuple[int, int] = (101, 75)
    queries: int = 64
    resizers: tuple[str, ...] = tuple(RESIZERS)
    every: int = 6
    several: Several = Several((101, 75), None, (32, (32, 32), 36, (36, 36), (40, 40)), 3)
    large: Several = Several((301, 403), 224, ((224, 224), 256), 15)


def for_preset(preset: Preset, seed: int) -> ResizerIdentificationSettings:
    """The settings of a preset."""
    if preset == "smoke":
        some = ("pil box", "pil bicubic", "torch nearest", "opencv linear", "torch area")
        several, large = Several((61, 47), None, (32, (32, 32)), 2), Several((83, 61), 40, ((40, 40), 44), 4)
        return ResizerIdentificationSettings(preset, seed, resizers=some, every=2, several=several, large=large)
    return ResizerIdentificationSettings(preset, seed)
