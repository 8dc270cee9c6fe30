"""Init surgery: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..parts import Preset, Settings

Where = Literal["pixels", "rotated"]
"""The data's subspace: spanned by random pixels, so that data are exactly 0 elsewhere; or uniformly random."""

Optimiser = Literal["descent", "adam"]
Range = Literal["[0, 1]", "[-1, 1]"]

WORDS: dict[Where, str] = {"pixels": "random pixels", "rotated": "random subspace"}


@dataclass(frozen=True)
class DmmInit(Settings):
    """Settings of init surgery.

    Attributes:
        seeds: Number of networks per scale.
        scales: Factors of the component of the initial first-layer weights orthogonal to the data; 0 projects it out.
        dim: Dimension n of the input.
        manifold: Dimension of the subspace that the data lie in.
        points: Number of training points; their labels are random.
        width: Number m of hidden neurons.
        steps: Steps of full-batch descent (or of Adam).
        mnist_seeds: Number of networks per scale on MNIST.
        mnist_width: Hidden neurons on MNIST.
        mnist_steps: Steps of batches of 128 images.
        mnist_images: Test images that gradients are measured at.
        rates: Learning rates: of descent and Adam on the subspace, and of descent on MNIST.
    """

    seeds: int = 20
    scales: tuple[float, ...] = (0.0, 0.1, 1.0, 3.0)
    dim: int = 784
    manifold: int = 16
    points: int = 40
    width: int = 100
    steps: int = 150
    mnist_seeds: int = 5
    mnist_width: int = 256
    mnist_steps: int = 469
    mnist_images: int = 300
    rates: tuple[float, float, float] = (0.2, 0.004, 0.1)


CASES: tuple[tuple[Where, Optimiser, bool], ...] = (
    ("pixels", "descent", False),
    ("pixels", "descent", True),
    ("pixels", "adam", False),
    ("rotated", "descent", False),
    ("rotated", "adam", False),
)
"""Subspace, optimiser, and whether the readout is trained too."""

RANGES: tuple[Range, ...] = ("[0, 1]", "[-1, 1]")


def for_preset(preset: Preset, seed: int) -> DmmInit:
    """The settings of a preset."""
    if preset == "smoke":
        return DmmInit(
            preset,
            seed,
            3,
            dim=200,
            points=30,
            width=60,
            steps=40,
            mnist_seeds=2,
            mnist_width=32,
            mnist_steps=20,
            mnist_images=40,
        )
    return DmmInit(preset, seed)


def case_name(where: Where, optimiser: Optimiser, readout: bool) -> str:
    """Name of a case's part."""
    return f"{where}-{optimiser}{'-readout' if readout else ''}"
