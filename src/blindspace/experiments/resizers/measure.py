"""Resizers: each map compared with its library, and its properties."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...maps.resizing.registry import RESIZERS, Resizer
from ...progress import Progress
from ..common.resize_libraries import LIBRARIES, Array, Run
from ..parts import Kept, Part, seed_of
from .settings import ResizersSettings, Size

GIVEN: tuple[tuple[Size, Size], ...] = (
    ((48, 64), (12, 16)),
    ((17, 23), (51, 46)),
    ((1, 19), (3, 7)),
    ((19, 1), (7, 2)),
    ((13, 5), (13, 11)),
    ((9, 14), (23, 8)),
)
"""Sizes (before, after) beside the random ones: whole ratios, single rows and columns, one axis alone, up and down."""

GREY = (100, 156)
"""Range of eight-bit values that no pass of a resize takes beyond 0 and 255."""


def parts(s: ResizersSettings) -> list[Part]:
    """One part per library."""
    return [Part(name.replace(" ", "-"), partial(_library, s, name)) for name in s.libraries]


def _library(s: ResizersSettings, name: str, progress: Progress) -> Kept:
    library = LIBRARIES[name]
    version = library.version
    own = [each for each in RESIZERS.values() if each.library == name]
    found: dict[str, Any] = {}
    for number, each in enumerate(own):
        progress(number, len(own), each.name)
        found[each.name] = {"maps": [properties(each, *size) for size in s.sizes]}
        if version is not None:
            found[each.name] |= compared(s, each, library.real, library.eight_bit)
    return Kept({"version": version, "digits": library.digits, "resizers": found})


def sizes(s: ResizersSettings, each: Resizer) -> list[tuple[Size, Size]]:
    """The sizes at which a resizer is compared with its library."""
    draw = np.random.default_rng(seed_of(s.seed, "sizes"))
    kept = [size for size in (*s.sizes, *GIVEN) if not left_out(each, *size)]
    most = len(kept) + s.count
    while len(kept) < most:
        a, b, c, d = draw.integers(1, s.most, 4).tolist()
        if not left_out(each, (a, b), (c, d)):
            kept.append(((a, b), (c, d)))
    return kept


def left_out(each: Resizer, before: Size, after: Size) -> bool:
    """Sizes at which a library is not compared, because it resizes wrongly or by the chance of rounding.

    torch 2.13 antialiases along the wrong axis into a single column; onnxruntime sees positions
    halfway between two pixels where float32 does not, and the other way round.
    """
    if each.library == "torch" and after[1] == 1:
        return True
    if not each.name.startswith("onnx nearest") or " round" not in each.mode:
        return False
    axes = list(zip(before, after, strict=True))
    # Positions halfway between two pixels, with half-pixel centres and without.
    return any((2 * x + 1) * n % (2 * m) == 0 or (x * n % m and 2 * x * n % m == 0) for n, m in axes for x in range(m))


def compared(s: ResizersSettings, each: Resizer, real: Run | None, eight_bit: Run | None) -> dict[str, Any]:
    """The largest differences between the map and the library over all sizes; None where there is nothing to compare.

    Returns:
        ``real``: in floating point, relative to the largest value; ``grey`` and ``all``: of eight-bit images with
        values that no pass clips and with all values, from the map's result clipped to 0…255, in steps of 1/255;
        ``sizes``: number of sizes.
    """
    draw = np.random.default_rng(seed_of(s.seed, each.name))
    gaps: dict[str, list[float]] = {"real": [], "grey": [], "all": []}
    some = sizes(s, each)
    for before, after in some:
        vertical, horizontal = (matrix.numpy() for matrix in each.matrices(before, after))

        def by_map(image: Array, v: Array = vertical, h: Array = horizontal) -> Array:
            resized: Array = v @ image @ h.T
            return resized

        image = draw.uniform(-1, 1, before).astype(np.float32).astype(np.float64)
        if real is not None:
            gaps["real"].append(float(np.abs(by_map(image) - real(each.mode, image, after)).max()))
        if eight_bit is not None and each.eight_bit != "refused by torch":
            for name, (least, beyond) in (("grey", GREY), ("all", (0, 256))):
                given = draw.integers(least, beyond, before).astype(np.uint8)
                library = eight_bit(each.mode, given, after).astype(np.float64).clip(0, 255)
                gaps[name].append(float(np.abs(by_map(given.astype(np.float64)).clip(0, 255) - library).max()))
    return {name: max(found) if found else None for name, found in gaps.items()} | {"sizes": len(some)}


def properties(each: Resizer, before: Size, after: Size) -> dict[str, Any]:
    """What a map is at given sizes.

    Returns:
        ``sums``: smallest and largest weight sum of an output; ``rank``, ``outputs``, ``inputs``; ``condition``: ratio
        of the largest to the smallest positive singular value; ``taps``: largest number of input pixels of an output;
        ``negative``: largest sum of the absolute values of an output's weights, 1 where none is negative.
    """
    pair = each.matrices(before, after)
    ranks, spectra = zip(*(_spectrum(matrix) for matrix in pair), strict=True)
    sums = [matrix.sum(1) for matrix in pair]
    low, high = (float(kind(sums[0]) * kind(sums[1])) for kind in (torch.min, torch.max))
    return {
        "sums": [low, high],
        "rank": ranks[0] * ranks[1],
        "outputs": after[0] * after[1],
        "inputs": before[0] * before[1],
        "condition": float(np.prod([float(sigma[0] / sigma[-1]) for sigma in spectra])),
        "taps": int(np.prod([int((matrix.abs() > 1e-9).sum(1).max()) for matrix in pair])),
        "negative": float(np.prod([float(matrix.abs().sum(1).max()) for matrix in pair])),
    }


def _spectrum(matrix: Tensor) -> tuple[int, Tensor]:
    """The numerical rank, and the singular values above rounding."""
    sigma = torch.linalg.svdvals(matrix)
    kept = sigma[sigma > max(matrix.shape) * 2.0**-52 * sigma[0]]
    return len(kept), kept
