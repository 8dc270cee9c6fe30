"""Resizing of images, as torch and as Pillow do it: both are separable, one matrix an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, UnsupportedLayerError
from .kronecker import Kronecker
from .linear_map import Shape

TORCH_AXES = {
    "nearest": None,
    "nearest-exact": None,
    "area": None,
    "linear": 1,
    "bilinear": 2,
    "bicubic": 2,
    "trilinear": 3,
}
"""torch's modes, with the number of axes each is for; None for any."""

UNITS = 512
"""Unit vectors that torch resizes at a time."""

Array = np.ndarray
Filter = Callable[[Array], Array]


class Resize(Kronecker):
    """``torch.nn.functional.interpolate`` or Pillow's ``Image.resize``.

    The torch convention's matrices are torch's own answers to unit vectors in float64; for float32 images torch rounds
    the positions, and so the weights, to float32. Pillow's are its algorithm in float64, as it runs it on images of
    mode F; on eight-bit images it rounds the result besides.

    Args:
        in_shape: ``(C, *spatial)`` or any shape with at least as many axes as ``size``.
        size: of the last axes, wanted.
        mode: one of ``TORCH_AXES``, or of ``PIL_FILTERS``.
        antialias: torch's: the filter is widened where the image shrinks. Pillow always does so.
        convention: "torch" or "pil".
        align_corners: torch's: the outermost pixels of both images lie on one another.
        scale: torch's scale factors, where positions are worked out from them and not from the sizes
            (``nn.Upsample(scale_factor=…)``).

    Raises:
        UnknownNameError: no such mode or convention.
        ShapeError: the mode is for another number of axes, or the sizes are not those that the scale gives.
        UnsupportedLayerError: torch does not have this mode with these options.
    """

    def __init__(
        self,
        in_shape: Shape,
        size: Sequence[int],
        mode: str = "bilinear",
        antialias: bool = False,
        convention: str = "torch",
        align_corners: bool = False,
        scale: Sequence[float] | None = None,
    ) -> None:
        if convention not in ("torch", "pil"):
            raise UnknownNameError(f"no resize convention is called {convention!r}; there are torch and pil")
        known = TORCH_AXES if convention == "torch" else PIL_FILTERS
        if mode not in known:
            raise UnknownNameError(f"{convention} has no resize mode {mode!r}; it has {', '.join(known)}")
        if not 1 <= len(size) <= len(in_shape) or min(size) < 1:
            raise ShapeError(f"an input {tuple(in_shape)} cannot be resized to {tuple(size)}")
        if convention == "torch" and TORCH_AXES[mode] not in (None, len(size)):
            raise ShapeError(f"{mode} resizes {TORCH_AXES[mode]} axes, not the {len(size)} of {tuple(size)}")
        if convention == "pil" and (align_corners or scale is not None):
            raise UnsupportedLayerError("Pillow's resize knows neither align_corners nor scale factors; leave them out")
        matrices: list[Tensor] = []
        for axis, wanted in enumerate(size):
            n = in_shape[len(in_shape) - len(size) + axis]
            factor = None if scale is None else scale[axis]
            if convention == "pil":
                matrices.append(pil_matrix(n, wanted, mode))
            else:
                matrices.append(torch_matrix(n, wanted, mode, len(size), antialias, align_corners, factor))
        super().__init__(matrices, in_shape)


def torch_matrix(
    size: int,
    out: int,
    mode: str,
    axes: int = 2,
    antialias: bool = False,
    align_corners: bool = False,
    scale: float | None = None,
) -> Tensor:
    """What torch does along one of so many axes, ``(out, size)``: its answers to unit vectors.

    Raises:
        UnsupportedLayerError: torch does not have this mode with these options.
        ShapeError: ``scale`` gives another size than ``out``.
    """
    # Of one, two and three axes torch does not take quite the same nearest pixel, so the others are there, too.
    one = (1,) * (axes - 1)
    # The last axis: antialiasing into a single column, torch 2.13 takes the wrong one.
    target = {"size": (*one, out)} if scale is None else {"scale_factor": (*one, scale)}
    rows = []
    for start in range(0, size, UNITS):
        count = min(UNITS, size - start)
        units = torch.zeros(count, size, dtype=torch.float64)
        units[torch.arange(count), start + torch.arange(count)] = 1
        try:
            answer = F.interpolate(
                units.reshape(1, count, *one, size),
                **target,
                mode=mode,
                antialias=antialias,
                align_corners=True if align_corners else None,
            )
        except (RuntimeError, ValueError) as error:
            raise UnsupportedLayerError(f"torch refuses to resize by {mode} from {size} to {out}: {error}") from error
        rows.append(answer.reshape(count, -1))
    matrix = torch.cat(rows).T.contiguous()
    if len(matrix) != out:
        raise ShapeError(f"a scale factor of {scale} makes {len(matrix)} of {size} pixels, not {out}")
    return matrix


def pil_matrix(size: int, out: int, mode: str) -> Tensor:
    """What Pillow does along one axis, ``(out, size)``.

    Source: Pillow's Resample.c (``precompute_coeffs``) and, for nearest, Geometry.c (``ImagingScaleAffine``).
    """
    if size == out:
        return torch.eye(size, dtype=torch.float64)  # Pillow leaves such an axis alone
    scale = size / out
    matrix = np.zeros((out, size))
    if mode == "nearest":
        # Pillow adds up the step, and rounding decides where a position falls between two pixels.
        read = np.cumsum([scale * 0.5] + [scale] * (out - 1)).astype(np.int64)
        matrix[np.arange(out), read.clip(max=size - 1)] = 1
        return torch.from_numpy(matrix)
    reach, shape = PIL_FILTERS[mode]
    widened = max(scale, 1.0)
    centre = (np.arange(out)[:, None] + 0.5) * scale
    pixel = np.arange(size)
    first = (centre - reach * widened + 0.5).clip(min=0).astype(np.int64)
    beyond = (centre + reach * widened + 0.5).astype(np.int64)
    inside = (pixel >= first) & (pixel < beyond)
    matrix[inside] = shape(((pixel - centre + 0.5) * (1 / widened))[inside])
    total = matrix.sum(1, keepdims=True)
    return torch.from_numpy(matrix / np.where(total == 0, 1, total))


def _box(x: Array) -> Array:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Array) -> Array:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0)


def _hamming(x: Array) -> Array:
    return np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(pi * x)), 0)


def _bicubic(x: Array) -> Array:
    """Keys' kernel with a = −0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Array) -> Array:
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


PIL_FILTERS: dict[str, tuple[float, Filter]] = {
    "nearest": (0.0, _box),
    "box": (0.5, _box),
    "bilinear": (1.0, _bilinear),
    "hamming": (1.0, _hamming),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
"""Pillow's modes: how far each filter reaches, in pixels of the coarser image, and its shape."""
