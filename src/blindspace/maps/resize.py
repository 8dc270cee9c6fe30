"""Resizing of images as torch and as Pillow do it, as a Kronecker product with one matrix per axis."""

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
"""torch's modes and the number of axes that each resizes; None for any number."""

UNITS = 512
"""Number of unit vectors that torch resizes at a time."""

Array = np.ndarray
Kernel = Callable[[Array], Array]


class Resize(Kronecker):
    """The resize of ``torch.nn.functional.interpolate`` or of Pillow's ``Image.resize``.

    The matrices of the torch convention are torch's images of unit vectors in float64; for float32 images torch rounds
    the positions, hence the weights, to float32. Those of Pillow follow its algorithm in float64, as it runs on images
    of mode F; for eight-bit images Pillow also rounds the result.

    Args:
        in_shape: Shape of one input, ``(C, *spatial)`` or any other with at least as many axes as ``size``.
        size: Sizes of the last axes of the output, in pixels.
        mode: One of ``TORCH_AXES`` or of ``PIL_FILTERS``, by the convention.
        antialias: Whether torch widens the filter where the image shrinks; Pillow always does.
        convention: "torch" or "pil".
        align_corners: Whether torch aligns the centres of the corner pixels of both images.
        scale: Scale factors, one per axis, from which torch computes positions (``nn.Upsample(scale_factor=…)``); if
            None, it computes them from the sizes.

    Raises:
        UnknownNameError: There is no such mode or convention.
        ShapeError: The mode resizes another number of axes, or the sizes do not follow from the scale factors.
        UnsupportedLayerError: torch does not offer this mode with these options.
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
    """The matrix ``(out, size)`` of torch's resize along one axis, from torch's images of unit vectors.

    Args:
        size: Size of the axis in pixels.
        out: Size of the resized axis in pixels.
        mode: One of ``TORCH_AXES``.
        axes: Number of axes that are resized together.
        antialias: As for ``Resize``.
        align_corners: As for ``Resize``.
        scale: Scale factor of the axis; computed from the sizes if None.

    Raises:
        UnsupportedLayerError: torch does not offer this mode with these options.
        ShapeError: ``scale`` gives another size than ``out``.
    """
    # The nearest pixel that torch takes depends on the number of axes, so the other axes are kept, with one pixel each.
    one = (1,) * (axes - 1)
    # The axis comes last, because torch 2.13 reads the wrong column when it antialiases into a single one.
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
    """The matrix ``(out, size)`` of Pillow's resize along one axis.

    Source: Pillow's Resample.c (``precompute_coeffs``) and, for nearest, Geometry.c (``ImagingScaleAffine``).

    Args:
        size: Size of the axis in pixels.
        out: Size of the resized axis in pixels.
        mode: One of ``PIL_FILTERS``.
    """
    if size == out:
        return torch.eye(size, dtype=torch.float64)  # Pillow does not resample such an axis
    scale = size / out
    matrix = np.zeros((out, size))
    if mode == "nearest":
        # Pillow accumulates the step size; where a position falls between two pixels, its rounding decides.
        read = np.cumsum([scale * 0.5] + [scale] * (out - 1)).astype(np.int64)
        matrix[np.arange(out), read.clip(max=size - 1)] = 1
        return torch.from_numpy(matrix)
    radius, kernel = PIL_FILTERS[mode]
    widened = max(scale, 1.0)
    centre = (np.arange(out)[:, None] + 0.5) * scale
    pixel = np.arange(size)
    first = (centre - radius * widened + 0.5).clip(min=0).astype(np.int64)
    beyond = (centre + radius * widened + 0.5).astype(np.int64)
    inside = (pixel >= first) & (pixel < beyond)
    matrix[inside] = kernel(((pixel - centre + 0.5) * (1 / widened))[inside])
    total = matrix.sum(1, keepdims=True)
    return torch.from_numpy(matrix / np.where(total == 0, 1, total))


def _box(x: Array) -> Array:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Array) -> Array:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0)


def _hamming(x: Array) -> Array:
    return np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(pi * x)), 0)


def _bicubic(x: Array) -> Array:
    """The cubic convolution kernel with a = −0.5 (Keys 1981)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Array) -> Array:
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


PIL_FILTERS: dict[str, tuple[float, Kernel]] = {
    "nearest": (0.0, _box),
    "box": (0.5, _box),
    "bilinear": (1.0, _bilinear),
    "hamming": (1.0, _hamming),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
"""Pillow's modes: radius of each filter, in pixels of the coarser image, and its kernel function."""
