"""Identify: settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

SHIPPED = "cifar-resnet"
KEPT, MOVED, STRANGER = "stem kept", "stem changed", "another random stem"


@dataclass(frozen=True)
class Identify(Settings):
    """Settings of the identification.

    Attributes:
        paper: Candidates beside the shipped network, one of another seed, and one with a random stem.
        epochs: Epochs of training for the one of another seed.
        count: Images of a probe.
        size: L∞ norm of a probe's noise, which leaves the pixel range.
        within: L∞ norm of noise that stays within it, on images of half the contrast.
        tuning: Number of images for fine-tuning.
        impostors: Number of networks with random stems, to be distinguished from the shipped one.
        drifts: Changes of the stem's weights, as shares of their norm.
    """

    paper: tuple[str, ...] = ("resnet18-ten", "resnet50-ten")
    epochs: int = 1
    count: int = 50
    size: float = 1.0
    within: float = 0.25
    tuning: int = 5000
    impostors: int = 100
    drifts: tuple[float, ...] = tuple(10.0**k for k in range(-7, 1))


def for_preset(preset: Preset, seed: int) -> Identify:
    """The settings of a preset; smoke has no network that must be trained for long."""
    if preset == "smoke":
        return Identify(preset, seed, (), count=6, tuning=50, impostors=4, drifts=(1e-6, 1e-2))
    return Identify(preset, seed, impostors=100 if preset == "cpu" else 1000)
