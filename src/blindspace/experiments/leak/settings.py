"""."""

from __future__ import annotations

from dataclasses import dataclass

from ...evidence._leakage import ANYONE, CONTROL, KNOWN_PLAINTEXT, MEAN_IN_RANGE, VISIBLE, WITHOUT, WRONG
from ..experiment import Preset, Settings

STEM, PATCHES, PRINCIPAL = "random-stem", "random-patches", "principal-patches"
"""Networks of which the first layer alone is asked about; the rest is random and means nothing."""

PATCH, FILTERS = 8, 48
"""Side of the patches, and how many filters read each: 48 of 3·8·8 = 192 dimensions are seen, as by ViT-Ti/16."""

ORIGINAL, NOISE = "the original", "Gaussian noise of equal norm"
ATTEMPTS = {
    ORIGINAL: "the original",
    ANYONE: "anyone, as it is",
    WITHOUT: "without parameters, the best filter",
    KNOWN_PLAINTEXT: "with known pairs",
    WRONG: "with a wrong guess at the parameters",
    VISIBLE: "with the parameters, visible component",
    MEAN_IN_RANGE: "with the parameters, natural completion",
    NOISE: "Gaussian noise of equal norm instead",
    CONTROL: "another image instead",
}
"""What is looked at in place of the original, and in words."""

CONTROLS = (ORIGINAL, NOISE, CONTROL)
SSIM, PERCEPTUAL, READ = "SSIM, brightness matched", "perceptual distance", "read rightly by another network"


@dataclass(frozen=True)
class Leak(Settings):
    """Settings of the leak.

    Attributes:
        cases: networks that images are hidden for.
        readers: another network for each, which says what it reads of what comes out.
        count: test images; the pairs of one half teach about the other.
        iterations: of the search for the largest perturbation; None for ``largest``'s own number.
        learned: training images that the principal patches come from.
    """

    cases: tuple[str, ...] = ("resnet50-ten", "cifar-resnet", STEM, PATCHES, PRINCIPAL)
    readers: tuple[str, ...] = ("cifar-resnet", "resnet18-ten", "cifar-resnet", "cifar-resnet", "cifar-resnet")
    count: int = 60
    iterations: int | None = None
    learned: int = 2000


def for_preset(preset: Preset, seed: int) -> Leak:
    """Of a preset; smoke has no network to be trained."""
    if preset == "smoke":
        return Leak(preset, seed, (PATCHES,), ("cifar-resnet",), count=4, iterations=40, learned=20)
    return Leak(preset, seed, count=60 if preset == "cpu" else 1000)
