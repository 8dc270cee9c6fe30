"""Matrices of resizing along one axis, as torch, Pillow and the ONNX standard do it."""

from __future__ import annotations

from collections.abc import Callable
from math import floor, pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, UnsupportedLayerError, first_line

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


def torch_matrix(
    size: int,
    out: int,
    mode: str,
    axes: int = 2,
    antialias: bool = False,
    align_corners: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The matrix ``(out, size)`` of torch's resize along one of several axes, from torch's images of unit vectors.

    The weights are those for float64 images; for float32 ones torch rounds the positions to float32. Options and errors
    are those of ``operations.resize``.
    """
    # The nearest pixel that torch takes depends on the number of axes, so the other axes are kept, with one pixel each.
    one = (1,) * (axes - 1)
    # The axis comes last, because torch 2.13 reads the wrong column when it antialiases into a single one.
    target = {"size": (*one, out)} if scale is None else {"scale_factor": (*one, scale)}
    rows = []
    for at in torch.arange(size).split(UNITS):
        units = F.one_hot(at, size).double().reshape(1, len(at), *one, size)
        try:
            answer = F.interpolate(
                units, **target, mode=mode, antialias=antialias, align_corners=True if align_corners else None
            )
        except (RuntimeError, ValueError) as error:
            raise UnsupportedLayerError(
                f"torch refuses to resize by {mode} from {size} to {out}: {first_line(error)}"
            ) from error
        rows.append(answer.reshape(len(at), -1))
    matrix = torch.cat(rows).T.contiguous()
    if len(matrix) != out:
        raise ShapeError(f"a scale factor of {scale} makes {len(matrix)} of {size} pixels, not {out}")
    return matrix


def pil_matrix(size: int, out: int, mode: str) -> Tensor:
    """The matrix ``(out, size)`` of Pillow's resize along one axis, as it runs in float64 on images of mode F.

    For eight-bit images Pillow also rounds the result.

    Source: Pillow's Resample.c (``precompute_coeffs``) and, for nearest, Geometry.c (``ImagingScaleAffine``).
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


def _bicubic(x: Array, a: float = -0.5) -> Array:
    """The cubic convolution kernel (Keys 1981)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
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

ONNX_FILTERS = {"linear": 1, "cubic": 2}
"""Modes of ``onnx_matrix``: radius of each filter, in pixels of the coarser image."""


def onnx_matrix(
    size: int,
    out: int,
    mode: str,
    scale: float,
    coordinates: str = "half_pixel",
    region: tuple[float, float] = (0.0, 1.0),
    *,
    antialias: bool = False,
    cubic_coefficient: float = -0.75,
    exclude_outside: bool = False,
) -> Tensor:
    """The matrix ``(out, size)`` of ONNX's Resize along one axis, in float64, by the formulas of the standard.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        mode: One of ``ONNX_FILTERS``.
        scale: Factor from which the coordinates are computed.
        coordinates: Coordinate transformation mode of the standard.
        region: (start, end) of the part that is cropped for "tf_crop_and_resize", as fractions of the axis.
        antialias: Whether the filter is widened where the image shrinks.
        cubic_coefficient: Coefficient a of the cubic convolution kernel.
        exclude_outside: Whether pixels outside the image get weight 0.

    Raises:
        UnknownNameError: There is no such coordinate transformation mode.
    """
    at = _onnx_coordinates(coordinates, size, out, scale, region)
    widened = max(1 / scale, 1.0) if antialias else 1.0
    reach = ONNX_FILTERS[mode] * widened
    taps = np.floor(at - reach).astype(np.int64)[:, None] + np.arange(2 * floor(reach) + 4)
    x = (taps - at[:, None]) / widened
    weight = _bilinear(x) if mode == "linear" else _bicubic(x, cubic_coefficient)
    if exclude_outside:
        weight = np.where((taps >= 0) & (taps < size), weight, 0)
    weight /= weight.sum(1, keepdims=True)
    if coordinates == "tf_crop_and_resize":
        weight[(at < 0) | (at > size - 1)] = 0  # the standard writes a constant there
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], taps.clip(0, size - 1)), weight)
    return torch.from_numpy(matrix)


def _onnx_coordinates(mode: str, size: int, out: int, scale: float, region: tuple[float, float]) -> Array:
    """The position of each output pixel among the input pixels, ``(out,)``."""
    x = np.arange(out)
    half_pixel = (x + 0.5) / scale - 0.5
    match mode:
        case "half_pixel":
            return half_pixel
        case "half_pixel_symmetric":
            return half_pixel + size / 2 * (1 - out / (scale * size))
        case "pytorch_half_pixel":
            return half_pixel if out > 1 else np.zeros(1)
        case "align_corners":
            return x * (size - 1) / (out - 1) if out > 1 else np.zeros(1)
        case "asymmetric":
            return x / scale
        case "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
        case "tf_crop_and_resize":
            start, end = region
            middle = np.array([0.5 * (start + end) * (size - 1)])
            return start * (size - 1) + x * (end - start) * (size - 1) / (out - 1) if out > 1 else middle
    raise UnknownNameError(f"ONNX's Resize has no coordinate transformation mode {mode!r}")
