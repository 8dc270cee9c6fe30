"""Which output sizes an image may have been made for: a periodogram of its fine detail on the grids of resizers.

A resize that is not antialiased reads few pixels, on a grid; whoever hides a picture from people or from the network
must put other values there than beside them. So the high-pass residual of the image has more energy on that grid than
between its lines. Rows and columns are searched apart, over every size, and the pairs of the best are then compared on
the pixels where rows and columns cross.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

Array = npt.NDArray[np.float32]
Size = tuple[int, int]

LEAST_RATIO = 1.3
"""Smallest ratio of a reduction that is searched: below it a resizer reads nearly every pixel …"""

LARGEST_RATIO = 12.0
"""… and above it an image of usual size leaves too few cells."""

FEWEST_CELLS = 24
"""Smallest output size that is searched, in pixels."""

NEIGHBOURHOOD = 31
"""Side of the square, in pixels, by whose energy the residual is normalised, so that no textured part dominates."""

FLOOR = 1e-6
"""Energy that the normalisation adds, a quarter of the square of one step of eight bits."""

PEAKS = 4
"""Number of sizes per axis that are kept, by contrast and by significance each."""


class Candidate(NamedTuple):
    """An output size, and how much the image's detail stands out on its grid.

    The gain is the log likelihood ratio per pixel of more variance on the grid than beside it: a grid that holds the
    true one and more has less of it, as has a part of the true one.
    """

    contrast: float
    gain: float
    size: Size


_POSITIONS: dict[str, Callable[[int, int], npt.NDArray[np.floating]]] = {
    "corner": lambda n, m: np.arange(m) * (n / m),
    "corner, rounded down": lambda n, m: np.floor(np.arange(m) * (n / m)),
    "centre": lambda n, m: (np.arange(m) + 0.5) * (n / m) - 0.5,
    "centre, rounded": lambda n, m: np.floor((np.arange(m) + 0.5) * (n / m)),
    "aligned corners": lambda n, m: np.arange(m) * ((n - 1) / max(m - 1, 1)),
}
"""Where resizers read n pixels for m of the output, by name: a position between two pixels reads both."""


def candidates(image: npt.NDArray[np.floating], count: int = 4) -> list[Size]:
    """Output sizes that an image may have been made for, the most conspicuous first.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        count: Number of sizes by gain; one more may come by contrast alone.

    Returns:
        Pairs (height, width), none for an image that is too small to be searched.
    """
    energy = _residual(image)
    if min(energy.shape) < FEWEST_CELLS * LEAST_RATIO:
        return []
    axes = [_peaks(energy.mean(axis)) for axis in (1, 0)]
    found = [_crossed(energy, family, h, w) for family in _POSITIONS for h in axes[0] for w in axes[1]]
    by_gain = _distinct(sorted(found, key=lambda each: -each.gain))[:count]
    by_contrast = _distinct(sorted(found, key=lambda each: -each.contrast))[:1]
    return list(dict.fromkeys(by_gain + by_contrast))


def _residual(image: npt.NDArray[np.floating]) -> Array:
    """Energy of the difference from the mean of 3 × 3 pixels, relative to the energy around it, ``(H, W)``."""
    x = np.asarray(image, np.float32)
    fine = x - uniform_filter(x, (0, 3, 3), mode="nearest")
    energy: Array = np.square(fine).mean(0)
    made: Array = energy / (uniform_filter(energy, NEIGHBOURHOOD, mode="nearest") + np.float32(FLOOR))
    return made


def _peaks(profile: Array) -> list[int]:
    """The sizes along one axis on whose grids a profile ``(n,)`` stands out most."""
    n = len(profile)
    sizes = np.arange(max(FEWEST_CELLS, int(n / LARGEST_RATIO)), int(n / LEAST_RATIO) + 1)
    longer = np.concatenate([profile, np.full(int(LARGEST_RATIO) + 2, profile[-1])])  # positions beyond the last pixel
    contrast = np.array([max(_contrast(longer, at(n, m), n / m) for at in _POSITIONS.values()) for m in sizes.tolist()])
    kept: list[int] = []
    for measure in (contrast * np.sqrt(sizes), contrast.copy()):
        for _ in range(min(PEAKS, len(sizes))):
            best = int(measure.argmax())
            kept.append(int(sizes[best]))
            measure[max(0, best - 1) : best + 2] = -np.inf  # neighbours of a peak are its flanks
    return sorted(set(kept))


def _contrast(profile: Array, at: npt.NDArray[np.floating], ratio: float) -> float:
    """Log of a profile's mean at positions ``(m,)``, less that at positions a third, half and two thirds on."""
    first = at.astype(np.int64)
    beside = at - first
    weights = np.stack([np.square(1 - beside), np.square(beside)])
    steps = np.array([0, *(max(1, round(ratio * part)) for part in (1 / 3, 1 / 2, 2 / 3))])
    read = profile[np.stack([first, first + 1])[None] + steps[:, None, None]]
    own, *others = (np.einsum("sbm,bm->s", read, weights) / weights.sum()).tolist()
    return log(own + FLOOR) - log(sorted(others)[1] + FLOOR)


def _crossed(energy: Array, family: str, height: int, width: int) -> Candidate:
    """How much the pixels stand out where the rows and the columns of a grid cross."""
    rows, beside_rows = _reads(energy.shape[0], height, family)
    columns, beside_columns = _reads(energy.shape[1], width, family)
    own, between = rows @ energy, beside_rows @ energy
    others = np.median([own @ beside_columns, between @ columns, between @ beside_columns])
    contrast = float(np.log(own @ columns + FLOOR) - np.log(others + FLOOR))
    share = height * width / energy.size
    held = min(share * exp(contrast) / (1 - share + share * exp(contrast)), 1 - FLOOR)
    gain = -(share * log(held / share) + (1 - share) * log((1 - held) / (1 - share))) / 2
    return Candidate(contrast, gain if contrast > 0 else 0.0, (height, width))


def _reads(n: int, m: int, family: str) -> tuple[Array, Array]:
    """How much of each of n pixels is read, ``(n,)``, and the same half a cell on; each sums to 1."""
    at = _POSITIONS[family](n, m)
    first = np.floor(at).astype(np.int64)
    beside = at - first
    made = []
    for step in (0, max(1, round(n / m / 2))):
        places = np.concatenate([first + step, first + step + 1]).clip(0, n - 1)
        weights = np.bincount(places, np.concatenate([np.square(1 - beside), np.square(beside)]), n)
        made.append((weights / weights.sum()).astype(np.float32))
    return made[0], made[1]


def _distinct(found: list[Candidate]) -> list[Size]:
    return list(dict.fromkeys(each.size for each in found))
