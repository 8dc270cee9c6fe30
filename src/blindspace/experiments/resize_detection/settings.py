"""Resize detection: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

CONTROL = "pil bicubic"
"""An antialiased resizer: an image made for it shows people the same picture."""


@dataclass(frozen=True)
class ResizeDetection(Settings):
    """Settings of the detection.

    Attributes:
        resizers: Resizers that images are made for.
        ratios: Ratios of the reduction along both axes.
        control: Ratios for the antialiased resizer.
        pictures: Names of pictures of scikit-image; every second one, from the first, is for reference.
        height: Largest height of a picture, in pixels; the middle is taken.
        width: Largest width.
        made: Number of test pictures that images are made of.
        clean: Number of ways of processing the clean test pictures.
    """

    resizers: tuple[str, ...] = (
        "torch nearest",
        "pil nearest",
        "torch bilinear no-antialias",
        "torch bicubic no-antialias",
    )
    ratios: tuple[float, ...] = (2, 2.73, 3, 4, 6)
    control: tuple[float, ...] = (3, 4)
    pictures: tuple[str, ...] = (
        "astronaut",
        "chelsea",
        "brick",
        "coffee",
        "camera",
        "motorcycle_left",
        "cell",
        "rocket",
        "clock_motion",
        "ihc",
        "coins",
        "page",
        "grass",
        "moon",
        "hubble_deep_field",
        "gravel",
        "text",
        "retina",
    )
    height: int = 320
    width: int = 400
    made: int = 4
    clean: int = 9


def for_preset(preset: Preset, seed: int) -> ResizeDetection:
    """The settings of a preset; smoke has two pictures and one resizer."""
    if preset == "smoke":
        names = ("astronaut", "chelsea")
        return ResizeDetection(preset, seed, ("torch nearest",), (4,), (), names, 96, 128, 1, 2)
    return ResizeDetection(preset, seed) if preset == "cpu" else ResizeDetection(preset, seed, made=9)
