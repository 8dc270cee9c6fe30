"""The layers that the benchmark measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn

from ..errors import UnknownNameError, ValueRangeError
from ..maps import LinearMap, Shape, from_module
from ..networks import load
from ..networks.preprocessing_modules import Resize

SIDES = (32, 64, 128, 224, 320, 512)
"""Image sides at which the stem of the picture is measured."""

MOST = 4096
"""The largest side."""


@dataclass(frozen=True)
class BenchCase:
    """A layer to measure.

    Attributes:
        name: Name of the case.
        build: Makes the layer; its weights are random unless the name says otherwise.
        in_shape: Shape of one input.
        side: Side of the image, if the case is a point of the picture.
    """

    name: str
    build: Callable[[], nn.Module]
    in_shape: Shape
    side: int | None = None

    def operator(self, seed: int) -> LinearMap:
        """The layer as a linear map; equal seeds give equal weights."""
        torch.manual_seed(seed)
        return from_module(self.build(), self.in_shape)


def _stem() -> nn.Conv2d:
    return nn.Conv2d(3, 10, 7, 2, 3)


def _with(weight: Tensor) -> nn.Conv2d:
    stem = _stem()
    stem.weight = nn.Parameter(weight.to(stem.weight.dtype))
    return stem


def _gabor() -> nn.Conv2d:
    """Smooth, oriented and strongly correlated kernels, as training makes them: the realistic hard case.

    Each has its own orientation and wavelength, and each colour its own contrast and phase.
    """
    at = torch.linspace(-1, 1, 7, dtype=torch.float64)
    y, x = torch.meshgrid(at, at, indexing="ij")
    angle = torch.arange(10, dtype=torch.float64)[:, None, None, None] * pi / 10
    frequency = 2 + 4 * torch.rand(10, 1, 1, 1, dtype=torch.float64)
    contrast, phase = torch.rand(2, 10, 3, 1, 1, dtype=torch.float64)
    wave = torch.cos(frequency * (x * angle.cos() + y * angle.sin()) + 2 * pi * phase)
    return _with(contrast * torch.exp(-2 * (x**2 + y**2)) * wave)


def _trained() -> nn.Conv2d:
    stem = load("cifar-resnet").module.get_submodule("1")
    assert isinstance(stem, nn.Conv2d)
    return _with(stem.weight.detach())


CASES = {
    case.name: case
    for case in (
        BenchCase("1×1, 256→64 at 56×56", lambda: nn.Conv2d(256, 64, 1), (256, 56, 56)),
        BenchCase("1×1, 64→48 at 32×32", lambda: nn.Conv2d(64, 48, 1), (64, 32, 32)),
        BenchCase("patch 16×16, 3→384 at 224×224", lambda: nn.Conv2d(3, 384, 16, 16), (3, 224, 224)),
        BenchCase("patch 32×32, 3→768 at 224×224", lambda: nn.Conv2d(3, 768, 32, 32), (3, 224, 224)),
        BenchCase("patch 8×8, 3→48 at 32×32", lambda: nn.Conv2d(3, 48, 8, 8), (3, 32, 32)),
        BenchCase("patch 4×4 padded, 3→32 at 64×64", lambda: nn.Conv2d(3, 32, 4, 4, 1), (3, 64, 64)),
        BenchCase("Linear 1536→384 over 128 tokens", lambda: nn.Linear(1536, 384), (128, 1536)),
        BenchCase("bilinear resize, 1080×1920→224×224", lambda: Resize((224, 224)), (3, 1080, 1920)),
        BenchCase(
            "bilinear resize, 1080×1920→224×224, then stem",
            lambda: nn.Sequential(Resize((224, 224)), _stem()),
            (3, 1080, 1920),
        ),
        BenchCase("stride-2 layer 3×3, 64→128 at 32×32", lambda: nn.Conv2d(64, 128, 3, 2, 1), (64, 32, 32)),
        BenchCase("wide layer 3×3, 256→64 at 56×56", lambda: nn.Conv2d(256, 64, 3, 1, 1), (256, 56, 56)),
        BenchCase("CIFAR stem 7×7 stride 2, 3→10 at 32×32", _stem, (3, 32, 32), 32),
        BenchCase("ImageNet stem 7×7 stride 2, 3→10 at 224×224", _stem, (3, 224, 224), 224),
        BenchCase("ImageNet stem, Gabor kernels", _gabor, (3, 224, 224)),
        BenchCase("ImageNet stem, trained kernels", _trained, (3, 224, 224)),
    )
}


def stem(side: int) -> BenchCase:
    """The 7×7 stem of stride 2 at an image of a given side: a point of the picture.

    Raises:
        ValueRangeError: The side is not between 4 and ``MOST``.
    """
    if not 4 <= side <= MOST:
        raise ValueRangeError(f"an image side must be between 4 and {MOST} pixels, got {side}")
    named = [case for case in CASES.values() if case.side == side]
    return named[0] if named else BenchCase(f"stem 7×7 stride 2, 3→10 at {side}×{side}", _stem, (3, side, side), side)


def select(names: list[str] | None = None, sides: list[int] | None = None) -> list[BenchCase]:
    """The cases to measure, each once; all cases and ``SIDES`` if neither names nor sides are given.

    Args:
        names: Parts of the names of cases.
        sides: Sides of images to measure the stem at.

    Raises:
        UnknownNameError: No case has one of the names.
        ValueRangeError: A side is too small or too large.
    """
    for name in names or []:
        if not any(name in known for known in CASES):
            raise UnknownNameError(f"no case of the bench holds {name!r}; there are: {'; '.join(CASES)}")
    if not names and not sides:
        names, sides = [""], list(SIDES)
    chosen = [case for key, case in CASES.items() if any(name in key for name in names or [])]
    return list({case.name: case for case in [*chosen, *(stem(side) for side in sorted(sides or []))]}.values())


def find(name: str, side: int | None) -> BenchCase:
    """The case that ``select`` chose, by its name and side."""
    return CASES[name] if name in CASES or side is None else stem(side)
