"""Matrices of ONNX's Resize along one axis, by the formulas of the standard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import floor

import numpy as np
import torch
from torch import Tensor

from ...errors import UnknownNameError
from .base import Resizer, each_axis
from .kernels import Array, cubic, triangle

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
    precision: type[np.floating] = np.float64,
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
        precision: Type in which the coordinates are computed; runtimes take float32, for images of any type.

    Raises:
        UnknownNameError: There is no such coordinate transformation mode.
    """
    at = _onnx_coordinates(coordinates, size, out, scale, region, precision).astype(np.float64)
    widened = max(1 / scale, 1.0) if antialias else 1.0
    reach = ONNX_FILTERS[mode] * widened
    taps = np.floor(at - reach).astype(np.int64)[:, None] + np.arange(2 * floor(reach) + 4)
    x = (taps - at[:, None]) / widened
    weight = triangle(x) if mode == "linear" else cubic(x, cubic_coefficient)
    if exclude_outside:
        weight = np.where((taps >= 0) & (taps < size), weight, 0)
    weight /= weight.sum(1, keepdims=True)
    if coordinates == "tf_crop_and_resize":
        weight[(at < 0) | (at > size - 1)] = 0  # the standard writes a constant there
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], taps.clip(0, size - 1)), weight)
    return torch.from_numpy(matrix)


def _onnx_coordinates(
    mode: str, size: int, out: int, scale: float, region: tuple[float, float], precision: type[np.floating]
) -> Array:
    """The position of each output pixel among the input pixels, ``(out,)``."""
    x, factor = np.arange(out).astype(precision), precision(scale)
    half, n, wanted = precision(0.5), precision(size), precision(out)
    half_pixel: Array = (x + half) / factor - half
    match mode:
        case "half_pixel":
            return half_pixel
        case "half_pixel_symmetric":
            return np.asarray(half_pixel + n / 2 * (1 - wanted / (factor * n)))
        case "pytorch_half_pixel":
            return half_pixel if out > 1 else np.zeros(1)
        case "align_corners":
            return x * (n - 1) / (wanted - 1) if out > 1 else np.zeros(1)
        case "asymmetric":
            return np.asarray(x / factor)
        case "tf_half_pixel_for_nn":
            return np.asarray((x + half) / factor)
        case "tf_crop_and_resize":
            start, end = precision(region[0]), precision(region[1])
            middle = np.array([half * (start + end) * (n - 1)])
            return start * (n - 1) + x * (end - start) * (n - 1) / (wanted - 1) if out > 1 else middle
    raise UnknownNameError(f"ONNX's Resize has no coordinate transformation mode {mode!r}")


def onnx_nearest(
    size: int,
    out: int,
    scale: float,
    coordinates: str,
    rounding: str,
    precision: type[np.floating] = np.float64,
) -> Tensor:
    """The matrix ``(out, size)`` of ONNX's Resize to the nearest pixel along one axis, in float64, by the standard.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        scale: Factor from which the coordinates are computed.
        coordinates: Coordinate transformation mode of the standard.
        rounding: One of ``ROUNDINGS``.
        precision: Type in which the coordinates are computed; runtimes take float32.

    Raises:
        UnknownNameError: There is no such coordinate transformation mode.
    """
    at = _onnx_coordinates(coordinates, size, out, scale, (0.0, 1.0), precision)
    matrix = np.zeros((out, size))
    matrix[np.arange(out), ROUNDINGS[rounding](at).astype(np.int64).clip(0, size - 1)] = 1
    return torch.from_numpy(matrix)


ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""The nearest modes of the standard: how a position is rounded to a pixel."""

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
"""The coordinate transformation modes that differ from one another where a size is asked for."""


def _by_size(size: int, out: int, mode: str, coordinates: str, antialias: bool = False) -> Tensor:
    return onnx_matrix(size, out, mode, out / size, coordinates, antialias=antialias, precision=np.float32)


def _nearest_by_size(size: int, out: int, coordinates: str, rounding: str) -> Tensor:
    return onnx_nearest(size, out, out / size, coordinates, rounding, np.float32)


def _resizer(mode: str, matrix: Callable[[int, int], Tensor], eight_bit: str, bound: float) -> Resizer:
    linear = "linear; positions are rounded to float32, as onnxruntime rounds them"
    return Resizer(f"onnx {mode}", "onnx", mode, linear, eight_bit, bound, each_axis(matrix))


def _word(coordinates: str) -> str:
    return coordinates.replace("_", "-")


RESIZERS = (
    *(
        _resizer(
            f"nearest {_word(c)} {_word(r)}",
            partial(_nearest_by_size, coordinates=c, rounding=r),
            "copied unchanged",
            0.0,
        )
        for c in COORDINATES
        for r in ROUNDINGS
    ),
    *(
        _resizer(f"{m} {_word(c)}", partial(_by_size, mode=m, coordinates=c), "left to the runtime", 1.0)
        for m in ONNX_FILTERS
        for c in COORDINATES
    ),
    *(
        _resizer(
            f"{m} antialias",
            partial(_by_size, mode=m, coordinates="half_pixel", antialias=True),
            "left to the runtime",
            1.0,
        )
        for m in ONNX_FILTERS
    ),
)
"""The resizes of ONNX, of an image to a size; "antialias" goes with half-pixel coordinates."""
