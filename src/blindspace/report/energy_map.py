"""The map of where in the image a subspace lies, as a picture of a page or a chart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._html import number, percent
from ..evidence.example_inputs import is_picture
from ..subspaces import PixelEnergy
from .page import picture

LONGEST = 160
"""Longest side of the map, in blocks of pixels."""

FLAT = 0.02
"""Spread of the energies, as a share of their mean, below which the map is called even."""


@dataclass(frozen=True)
class EnergyMap:
    """A map of the energy of a subspace per pixel, as a page shows it.

    Attributes:
        source: The picture, a data URI; empty where inputs are no grids.
        values: Means of the blocks of pixels that the picture shows, ``(rows, columns)``, or of a vector ``(n,)``.
        block: Sides of a block in pixels; (1, values) of a vector.
        low: Least value, the dark end of the scale.
        high: Largest value, its bright end.
        words: What the map shows, in words.
        error: Standard error of one block, if its values are independent; 0 if the energies are exact.
        channels: Name of each channel and its mean energy; empty if there is one.
    """

    source: str
    values: Tensor
    block: tuple[int, int]
    low: float
    high: float
    words: str
    error: float
    channels: tuple[tuple[str, float], ...]


def energy_map(energy: PixelEnergy) -> EnergyMap:
    """The map of an energy: means over the channels, and over blocks of pixels if there are more than ``LONGEST``."""
    values = energy.values
    if is_picture(energy.shape) and energy.shape[0] not in (1, 3):
        values = values.movedim(2, 0)
    grid = values.ndim >= 2 and min(values.shape[-2:]) > 1
    pixels = values.reshape(-1, *values.shape[-2:]).mean(0) if grid else values.flatten()
    shown, block = _blocks(pixels if grid else pixels[None])
    per_block = block[0] * block[1] * (values.numel() // pixels.numel())
    shown = shown if grid else shown[0]
    low, high = float(shown.min()), float(shown.max())
    return EnergyMap(
        source=_coloured(shown, low, high) if grid else "",
        values=shown,
        block=block,
        low=low,
        high=high,
        words=_words(shown, low, high, float(pixels.mean())),
        error=energy.standard_error / per_block**0.5,
        channels=_channels(values),
    )


def _blocks(pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Means over square blocks, at most ``LONGEST`` along each axis; the last ones may be smaller."""
    across = -(-max(pixels.shape) // LONGEST)
    down = min(across, pixels.shape[0])
    means = F.avg_pool2d(pixels[None, None], (down, across), ceil_mode=True, count_include_pad=False)[0, 0]
    return means, (down, across)


def _coloured(values: Tensor, low: float, high: float) -> str:
    import matplotlib

    share = (values - low) / (high - low) if high > low else torch.full_like(values, 0.5)
    colours = matplotlib.colormaps["cividis"](share.numpy())[..., :3]
    return picture(torch.from_numpy(colours).movedim(2, 0))


def _words(values: Tensor, low: float, high: float, mean: float) -> str:
    if not mean:
        return "The energy is 0 everywhere."
    if high - low <= FLAT * mean:
        return f"The energy is the same everywhere, {number(mean, 3)}."
    least, most = (_place(int(index), values) for index in (values.flatten().argmin(), values.flatten().argmax()))
    if least == most:
        least = most = ""
    return f"The energy goes from {number(low, 3)}{least} to {number(high, 3)}{most}; its mean is {percent(mean)}."


def _place(index: int, values: Tensor) -> str:
    """Where a value stands, in words."""
    if values.ndim == 1:
        return f" at {percent(index / max(len(values) - 1, 1), 0)} of the length"
    row, column = divmod(index, values.shape[1])
    down = ("at the top", "in the middle", "at the bottom")[min(3 * row // values.shape[0], 2)]
    across = ("left", "centre", "right")[min(3 * column // values.shape[1], 2)]
    return f" {down} {across}"


def _channels(values: Tensor) -> tuple[tuple[str, float], ...]:
    if values.ndim < 3 or not 1 < len(values) <= 8:
        return ()
    names = ("red", "green", "blue") if len(values) == 3 else tuple(f"channel {index}" for index in range(len(values)))
    return tuple(zip(names, values.flatten(1).mean(1).tolist(), strict=True))
