"""Clinging and dimpling: settings, and the two toy problems."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import torch
from torch import Tensor

from ..common.ensembles import Init
from ..parts import Preset, Settings


@dataclass(frozen=True)
class Toy:
    """A toy problem with its published settings (code of arXiv 2303.00783).

    Attributes:
        name: Name of its parts.
        title: In words.
        dim: Dimension of the flat that the points lie in.
        width: Hidden neurons.
        init: Distribution of the initial weights.
        divisor: What the initial weights, but not the biases, are divided by.
        rate: Learning rate of full-batch descent.
        momentum: Momentum of the descent.
        margin: Smallest output towards the right side, over the points, at which the published training stops.
        published: Steps of the published snapshots before the end.
        reach: How far the boundary is searched.
        surgery: Factors of the initial component orthogonal to the points; 1 leaves it.
    """

    name: str
    title: str
    dim: int
    width: int
    init: Init
    divisor: float
    rate: float
    momentum: float
    margin: float
    published: tuple[int, ...]
    reach: float
    surgery: tuple[float, ...]

    @property
    def ambient(self) -> int:
        """Dimension of the space."""
        return self.dim + 1

    def data(self) -> tuple[Tensor, Tensor]:
        """Points ``(N, ambient)`` and their sides, ±1, float64."""
        if self.name == "diagonal":
            t = torch.linspace(-1, 1, 7, dtype=torch.float64)
            return torch.stack([t, t], 1), torch.arange(7).remainder(2).double() * 2 - 1
        at = torch.linspace(0, 1, 5, dtype=torch.float64)
        plane = torch.cartesian_prod(at, at)
        board = torch.cartesian_prod(torch.arange(5), torch.arange(5)).sum(1).remainder(2)
        return torch.cat([plane, torch.zeros(25, 1, dtype=torch.float64)], 1), 1 - board.double() * 2

    def directions(self, count: int = 16) -> tuple[Tensor, Tensor]:
        """Unit vectors on the flat, evenly spread, ``(D, ambient)``, and both of its normals, ``(2, ambient)``."""
        if self.name == "diagonal":
            on, off = ([1.0, 1.0], [1.0, -1.0])
            both = [torch.tensor([v, [-x for x in v]], dtype=torch.float64) / sqrt(2) for v in (on, off)]
            return both[0], both[1]
        angle = torch.arange(count, dtype=torch.float64) * (2 * pi / count)
        on_flat = torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)], 1)
        return on_flat, torch.tensor([[0.0, 0, 1], [0, 0, -1]], dtype=torch.float64)


DIAGONAL = Toy(
    "diagonal", "7 points on a diagonal", 1, 100, "gaussian", 1.0, 0.02, 0.0, 0.3, (0, 10, 20, 30, 100), 2.0, (1.0, 0.1)
)
CHESS = Toy(
    "chess", "5×5 chessboard", 2, 400, "default", 3.0, 0.05, 0.9, 0.01, (0, 2, 4, 500, 700), 1.0, (1.0, 10.0, 0.1)
)
"""Two settings are ours. Momentum 0.9: without it, training needs ten times as many steps, 26,000 to more than 150,000.
And the board's plane passes through the origin instead of lying at height 0.5, so that the points span a linear
subspace and weights along its normal are exactly never trained. With the factor 10 the boundary dimples."""

TOYS = (DIAGONAL, CHESS)

Optimiser = Literal["Adam", "SGD"]


@dataclass(frozen=True)
class Run:
    """A training of the networks on images.

    Attributes:
        optimiser: Adam with 0.001, or SGD with 0.1.
        centred: Whether pixels are scaled to [−1, 1] before the network reads them.
        divisor: What the initial first-layer weights are divided by.
    """

    optimiser: Optimiser
    centred: bool
    divisor: float = 1.0

    @property
    def name(self) -> str:
        """Name of its parts."""
        return self.optimiser.lower() + ("-centred" if self.centred else "") + ("-small" if self.divisor > 1 else "")

    @property
    def title(self) -> str:
        """In words."""
        scaled = f", init ÷ {self.divisor:g}" if self.divisor > 1 else ""
        return f"{self.optimiser}, pixels in {'[−1, 1]' if self.centred else '[0, 1]'}{scaled}"


@dataclass(frozen=True)
class DmmPhases(Settings):
    """Settings of clinging and dimpling.

    Attributes:
        seeds: Networks per toy problem.
        toy_steps: Steps of training: of the diagonal, of the chessboard.
        samples: Samples per ray on which the boundary is searched.
        datasets: Image data sets.
        runs: Trainings on images.
        image_seeds: Networks per training on images.
        widths: Hidden widths of the networks on images.
        snapshots: Steps at which gradients are measured; the last one ends the training.
        batch: Images per step.
        images: Test images that gradients are measured at.
    """

    seeds: int = 20
    toy_steps: tuple[int, int] = (8_000, 10_000)
    samples: int = 64
    datasets: tuple[str, ...] = ("mnist", "fashion-mnist")
    runs: tuple[Run, ...] = (Run("Adam", True), Run("SGD", False), Run("SGD", False, 10.0))
    image_seeds: int = 3
    widths: tuple[int, ...] = (256, 256)
    snapshots: tuple[int, ...] = (0, 10, 30, 100, 300, 469, 1407)
    batch: int = 128
    images: int = 300


def for_preset(preset: Preset, seed: int) -> DmmPhases:
    """The settings of a preset."""
    if preset == "smoke":
        return DmmPhases(
            preset, seed, 2, toy_steps=(12, 6), samples=8, datasets=("mnist",), runs=(Run("SGD", False),),
            image_seeds=2, widths=(16,), snapshots=(0, 3, 10, 20), batch=32, images=20,
        )  # fmt: skip
    return DmmPhases(preset, seed)


def times(last: int) -> list[int]:
    """Steps at which a toy is measured: 0, then about six per decade, up to the last."""
    found = {int(step * 10**power) for power in range(6) for step in (1, 1.5, 2, 3, 5, 7)}
    return [0, *sorted(step for step in found if step < last), last]
