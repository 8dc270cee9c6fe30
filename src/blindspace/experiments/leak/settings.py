"""Leak: settings, and the attempts at recovery."""

from __future__ import annotations

from dataclasses import dataclass

from ...evidence._leakage import ANYONE, CONTROL, KNOWN_PLAINTEXT, MEAN_IN_RANGE, VISIBLE, WITHOUT, WRONG
from ..parts import Preset, Settings

STEM, PATCHES, PRINCIPAL = "random-stem", "random-patches", "principal-patches"
"""Networks of which only the first layer matters; the rest is random."""

PATCH, FILTERS = 8, 48
"""Side of the patches, and number of filters per patch: 48 of 3·8·8 = 192 dimensions are visible, as for ViT-Ti/16."""

ORIGINAL, NOISE = "the original", "Gaussian noise of equal norm"
ATTEMPTS = {
    ORIGINAL: "the original",
    ANYONE: "anyone, as it is",
    WITHOUT: "without parameters, the best filter",
    KNOWN_PLAINTEXT: "known-plaintext attack",
    WRONG: "with a wrong guess at the parameters",
    VISIBLE: "with the parameters, visible component",
    MEAN_IN_RANGE: "with the parameters, conditional mean",
    NOISE: "Gaussian noise of equal norm instead",
    CONTROL: "another image instead",
}
"""What is compared with the original, in words."""

CONTROLS = (ORIGINAL, NOISE, CONTROL)
SSIM, PERCEPTUAL, READ = "SSIM, brightness matched", "perceptual distance", "classified correctly by another network"


@dataclass(frozen=True)
class Leak(Settings):
    """Settings of the leak.

    Attributes:
        cases: Networks that images are hidden for.
        readers: Another network for each, which classifies what is recovered.
        count: Number of test images; the pairs of one half serve to attack the other half.
        iterations: Iterations of the search for the largest perturbation; None for the default of ``largest``.
        learned: Number of training images that the principal patches are computed from.
    """

    cases: tuple[str, ...] = ("resnet50-ten", "cifar-resnet", STEM, PATCHES, PRINCIPAL)
    readers: tuple[str, ...] = ("cifar-resnet", "resnet18-ten", "cifar-resnet", "cifar-resnet", "cifar-resnet")
    count: int = 60
    iterations: int | None = None
    learned: int = 2000


def for_preset(preset: Preset, seed: int) -> Leak:
    """The settings of a preset; smoke has no network that must be trained."""
    if preset == "smoke":
        return Leak(preset, seed, (PATCHES,), ("cifar-resnet",), count=4, iterations=40, learned=20)
    return Leak(preset, seed, count=60 if preset == "cpu" else 1000)
