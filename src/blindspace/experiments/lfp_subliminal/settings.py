"""Subliminal learning: settings, and what students share and learn from."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

BOTH, HIDDEN, READOUT, NEITHER = "both", "the hidden layers alone", "the readout alone", "neither"

SHARED = {BOTH: (True, True), HIDDEN: (True, False), READOUT: (False, True), NEITHER: (False, False)}
"""Whether a student shares the initial weights of the hidden layers, and those of the readout."""

LOGITS, IMAGES, NOISE = "auxiliary logits on noise", "perturbed images", "perturbed noise"
"""What students learn from."""

LEARNT = (LOGITS, IMAGES, NOISE)

UNPERTURBED = {IMAGES: "images without perturbation", NOISE: "noise without perturbation"}
"""Controls: the same samples and labels without the perturbations, for the student that shares both."""


@dataclass(frozen=True)
class SubliminalSettings(Settings):
    """Settings of the experiment.

    Attributes:
        seeds: Number of first networks.
        images: Training images of the first networks, and images of noise for imitation; all if None.
        perturbed: Number of images, and of images of noise, that are perturbed.
        eps: L2 radius of the perturbations, in units of the pixel range.
        steps: Steps of the attack.
        epochs: Epochs of the first networks and of imitation.
        batch: Images per step of the first networks and of imitation.
        perturbed_epochs: Epochs of training on perturbed samples.
        perturbed_batch: Images per step of it.
        tests: Number of test images; all if None.
    """

    seeds: int = 5
    images: int = 60_000
    perturbed: int = 10_000
    eps: float = 2.0
    steps: int = 10
    epochs: int = 5
    batch: int = 1024
    perturbed_epochs: int = 6
    perturbed_batch: int = 64
    tests: int | None = None


def for_preset(preset: Preset, seed: int) -> SubliminalSettings:
    """The settings of a preset; smoke has few images, paper as many networks as Cloud et al."""
    if preset == "smoke":
        return SubliminalSettings(preset, seed, 2, 60, 40, 2.0, 2, 4, 10, 2, 10)
    if preset == "cpu":
        return SubliminalSettings(preset, seed)
    return SubliminalSettings(preset, seed, seeds=25, perturbed=60_000, steps=100)
