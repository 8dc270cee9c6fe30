"""Table 2: settings, and the kinds of changed images."""

from __future__ import annotations

from dataclasses import dataclass

from ..parts import Preset, Settings

SIGMA = 0.1
"""Standard deviation of the paper's Gaussian noise."""

LARGEST, UNLIKE, FILE = "harmless, largest", "harmless, most unlike", "as eight-bit files"
NOISE, BEYOND = "Gaussian noise of 0.1, clipped to [0, 1]", "Gaussian noise of 0.1, not clipped"
EQUAL, SHUFFLED, RANDOM = "Gaussian noise of equal norm", "shuffled", "random subspace"
HARMLESS = (LARGEST, UNLIKE)
FILES = tuple(f"{kind}, {FILE}" for kind in HARMLESS)
OWN = (*HARMLESS, *FILES)
KINDS = (*OWN, NOISE, BEYOND, EQUAL, SHUFFLED, RANDOM)
"""All kinds of changed images; the last three have the norm of the largest and are clipped to [0, 1]."""

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
        networks: Model under test; the paper's comes first.
        count: Number of test images.
        iterations: Iterations of the search for the largest perturbation; None for the default of ``largest``.
        steps: Steps of the ascent of the perceptual distance.
        second: Number of images for the second perceptual distance, which is slow.
        files: Whether images are rounded to eight bits too, which takes a while to set up.
        shown: Images in the picture.
    """

    networks: tuple[str, ...] = ("resnet50-ten", "cifar-resnet")
    count: int = 100
    iterations: int | None = None
    steps: int = 60
    second: int = 20
    files: bool = True
    shown: int = 5


def for_preset(preset: Preset, seed: int) -> Table2:
    """The settings of a preset; smoke has the shipped network, whose labels are meaningful."""
    if preset == "smoke":
        return Table2(preset, seed, ("cifar-resnet",), count=4, iterations=40, steps=2, second=0, files=False, shown=3)
    return Table2(preset, seed, count=100 if preset == "cpu" else 10_000)
