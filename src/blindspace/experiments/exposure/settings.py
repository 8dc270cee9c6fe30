"""Exposure: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ...maps.resizing.registry import RESIZERS
from ..parts import Preset, Settings


@dataclass(frozen=True)
class ExposureSettings(Settings):
    """Settings of the experiment.

    Attributes:
        side: Side of the square photographs, in pixels.
        outs: Sides after the resize, in pixels.
        photographs: Number of photographs.
        resizers: Names of the resizers.
    """

    side: int = 256
    outs: tuple[int, ...] = (128, 100, 64, 32)
    photographs: int = 4
    resizers: tuple[str, ...] = tuple(RESIZERS)


def for_preset(preset: Preset, seed: int) -> ExposureSettings:
    """The settings of a preset."""
    if preset == "smoke":
        return ExposureSettings(preset, seed, 32, (8,), 2, ("pil box", "opencv linear", "torch nearest"))
    return ExposureSettings(preset, seed, 256 if preset == "cpu" else 896)
