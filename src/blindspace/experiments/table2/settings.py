"""."""

from __future__ import annotations

from dataclasses import dataclass

from ..experiment import Preset, Settings

SIGMA = 0.1
"""Of the paper's Gaussian noise."""

LARGEST, UNLIKE, FILE = "harmless, largest", "harmless, most unlike", "as eight-bit files"
NOISE, BEYOND = "Gaussian noise of 0.1, clipped to [0, 1]", "Gaussian noise of 0.1, not clipped"
EQUAL, SHUFFLED, RANDOM = "Gaussian noise of equal norm", "shuffled", "random subspace"
HARMLESS = (LARGEST, UNLIKE)
FILES = tuple(f"{kind}, {FILE}" for kind in HARMLESS)
OWN = (*HARMLESS, *FILES)
KINDS = (*OWN, NOISE, BEYOND, EQUAL, SHUFFLED, RANDOM)
"""All that is added to images; the last three have the norm of the largest and are clipped to [0, 1]."""

SSIM, PERCEPTUAL, SECOND, DROP = (
    "SSIM, less is better",
    "perceptual distance",
    "second perceptual distance",
    "Δ accuracy",
)


@dataclass(frozen=True)
class Table2(Settings):
    """Settings of table 2.

    Attributes:
        networks: the paper's first, then another.
        count: test images.
        iterations: of the search for the largest perturbation; None for ``largest``'s own number.
        steps: of the climb in the perceptual distance.
        second: images whose second perceptual distance is taken, which is slow.
        files: whether to round to eight bits too, which takes a while to set up.
        shown: images in the picture.
    """

    networks: tuple[str, ...] = ("resnet50-ten", "cifar-resnet")
    count: int = 100
    iterations: int | None = None
    steps: int = 60
    second: int = 20
    files: bool = True
    shown: int = 5


def for_preset(preset: Preset, seed: int) -> Table2:
    """Of a preset; smoke has the shipped network, whose labels mean something."""
    if preset == "smoke":
        return Table2(preset, seed, ("cifar-resnet",), count=4, iterations=40, steps=2, second=0, files=False, shown=3)
    return Table2(preset, seed, count=100 if preset == "cpu" else 10_000)
