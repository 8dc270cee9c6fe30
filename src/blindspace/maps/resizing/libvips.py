"""Matrices of libvips's resize along both axes; sharp is libvips too."""

from __future__ import annotations

from functools import partial
from math import ceil, floor

import numpy as np
import torch

from .base import Matrices, Resizer, Size
from .kernels import Array, Kernel, cubic, lanczos, mitchell, triangle

PHASES = 64
"""Number of positions between two pixels for which libvips has weights."""

TILE = 128
"""Width of the tiles in which libvips interpolates, in pixels."""

STRIP = 16
"""Height of the strips in which libvips reduces, in pixels."""

GAP = 2.0
"""Factor that is left to the filter where libvips first takes means of whole blocks of pixels."""

FILTERS: dict[str, tuple[int, Kernel]] = {
    "linear": (1, triangle),
    "cubic": (2, cubic),
    "mitchell": (2, mitchell),
    "lanczos2": (2, partial(lanczos, lobes=2)),
    "lanczos3": (3, lanczos),
}
"""Radius of each filter, in pixels of the coarser image, and its kernel function."""


def vips_matrices(before: Size, after: Size, mode: str, gap: float = GAP) -> Matrices:
    """The matrices (vertical, horizontal) of libvips's resize, for images of float32.

    An axis that shrinks is first reduced by means of blocks (nearest: by leaving out pixels), if it shrinks to a
    ``2 gap``-th or less, then by the filter; positions are rounded to 1/64 of a pixel. An axis that grows is
    interpolated: linearly, or by a Catmull-Rom spline for every kernel but nearest and linear. There libvips up to
    8.18 reads half a pixel of the output too far above and to the left; if the other axis does not grow, it is
    interpolated too, half a pixel off. Pixels beyond the border repeat the last one.

    Args:
        before: (height, width) of the image, in pixels.
        after: (height, width) after resizing.
        mode: "nearest", or one of ``FILTERS``.
        gap: Factor that is left to the filter after the means of blocks; 0 for no such means.

    Source: libvips's resample/resize.c, reduceh.cpp, shrinkh.c, affine.c, bicubic.cpp.
    """
    scales = [max(1.0, wanted / n) for n, wanted in zip(before, after, strict=True)]
    whole = all(scale == floor(scale) for scale in scales)
    steps = [1 / (scales[0] * scales[1]) * other for other in reversed(scales)]  # as libvips inverts their matrix
    shift = 0.0 if mode == "nearest" else 0.5
    matrices = []
    for axis, (n, wanted) in enumerate(zip(before, after, strict=True)):
        matrix = _shrunk(n, wanted, mode, gap, (STRIP, wanted)[axis]) if wanted < n else np.eye(n)
        if whole and mode == "nearest":
            matrix = np.repeat(matrix, max(1, wanted // n), 0)
        elif max(scales) > 1:
            matrix = _grown(len(matrix), _positions(wanted, steps[axis], walks=axis == 1) - shift, mode) @ matrix
        matrices.append(torch.from_numpy(matrix))
    return matrices[0], matrices[1]


def _positions(out: int, step: float, walks: bool) -> Array:
    """Multiples of a step, from 1 on because libvips adds a border of one pixel, which is taken off again."""
    at = step * np.arange(out) + 1.0
    for x in range(1, out) if walks else ():
        if x % TILE:
            at[x] = at[x - 1] + step
    return at - 1.0


def _shrunk(size: int, out: int, mode: str, gap: float, strip: int) -> Array:
    """The blocks and the filter of an axis that shrinks, walked along in strips of so many pixels."""
    shrink = 1 / (out / size)
    blocks = max(1, floor(size / out / gap)) if gap else 1
    if mode == "nearest":
        kept = np.arange(size // blocks) * blocks
        step = 1 / (out / size * blocks)
        at = _centres(out, step, out * step - len(kept), strip)
        picked: Array = np.eye(size)[kept[at.astype(np.int64).clip(max=len(kept) - 1)]]
        return picked
    means = _means(size, blocks)
    at = _centres(out, shrink / blocks, (out * shrink - size) / blocks, strip)
    matrix: Array = _reduced(len(means), at, shrink / blocks, mode) @ means
    return matrix


def _centres(out: int, step: float, extra: float, strip: int) -> Array:
    """Centres of the output pixels, half a pixel further on; pixels that libvips invents are halved to both sides."""
    at: Array = (np.arange(out) + 0.5) * step - 0.5 - ((1 + extra) / 2 - 1)
    for x in range(1, out):
        if x % strip:
            at[x] = at[x - 1] + step
    return at


def _means(size: int, block: int) -> Array:
    """Means of whole blocks; the last one repeats the last pixel."""
    means = np.zeros((ceil(size / block), size))
    taps = np.arange(len(means) * block)
    np.add.at(means, (taps // block, taps.clip(max=size - 1)), 1 / block)
    return means


def _reduced(size: int, at: Array, shrink: float, mode: str) -> Array:
    """The filter of an axis that shrinks."""
    if shrink == 1:
        return np.eye(size)[: len(at)]
    radius, kernel = FILTERS[mode]
    reach = round(radius * shrink)  # halves to the even number, as in C's rint
    first, phase = _phases(at)
    taps = np.arange(-reach, reach + 1)
    weights = kernel((taps + 0.5 - phase[:, None]) / shrink)
    weights /= weights.sum(1, keepdims=True)
    return _spread(size, first[:, None] + taps, weights)


def _grown(size: int, at: Array, mode: str) -> Array:
    """The interpolation of an axis that grows, at given positions."""
    first = np.floor(at).astype(np.int64)
    if mode == "nearest":
        picked: Array = np.eye(size)[first.clip(0, size - 1)]
        return picked
    if mode == "linear":
        rest = at - first
        return _spread(size, first[:, None] + np.arange(2), np.stack([1 - rest, rest], 1))
    first, phase = _phases(at)
    taps = np.arange(-1, 3)
    return _spread(size, first[:, None] + taps, cubic(taps - phase[:, None]))


def _phases(at: Array) -> tuple[Array, Array]:
    """The pixel before each position, and the distance from it, rounded to ``1 / PHASES``."""
    first = np.floor(at).astype(np.int64)
    halves = np.floor(at * 2 * PHASES).astype(np.int64) % (2 * PHASES)
    return first, (halves + 1) // 2 / PHASES


def _spread(size: int, taps: Array, weights: Array) -> Array:
    matrix = np.zeros((len(taps), size))
    np.add.at(matrix, (np.arange(len(taps))[:, None], taps.clip(0, size - 1)), weights)
    return matrix


RESIZERS = tuple(
    Resizer(
        name=f"libvips {mode}",
        library="libvips",
        mode=mode,
        linear=(
            "linear"
            if mode == "nearest"
            else "linear; positions are rounded to 1/64 of a pixel, except for float64 images"
        ),
        eight_bit=(
            "copied unchanged"
            if mode == "nearest"
            else "weights of 12 bits in fixed point, cut off; rounded and clipped to 0…255 after each step, the "
            "vertical one first"
        ),
        bound=bound,
        build=partial(vips_matrices, mode=mode),
    )
    for mode, bound in (
        ("nearest", 0.0),
        ("linear", 2.0),
        ("cubic", 2.0),
        ("mitchell", 2.0),
        ("lanczos2", 2.0),
        ("lanczos3", 2.0),
    )
)
"""libvips's ways to resize; ``thumbnail`` and sharp use them with "lanczos3" unless another is asked for."""
