"""ONNX's Resize and Upsample: one matrix an axis, in float64, by the formulas of the standard.

The runtime works in float32, so its weights differ from these by rounding. The nearest pixel it is asked for itself.
"""

from __future__ import annotations

from math import floor

import numpy as np
import torch
from torch import Tensor

from ...maps import Kronecker, LinearMap
from .call import Call, count, linear
from .moves import move
from .session import Array, run_node

REACH = {"linear": 1, "cubic": 2}
"""How far a filter reaches, in pixels of the coarser image, by the mode."""


@linear("Resize", "Upsample")
def _resized(call: Call) -> LinearMap | None:
    mode = call.attributes.get("mode", "nearest")
    tensor, out = call.tensor(0), call.outputs[0]
    if mode == "nearest":
        return _nearest(call)
    if mode not in REACH or tensor[0] != 1 or out[0] != 1:
        return None
    axes = range(1, len(tensor))
    scales, regions = _scales(call), _regions(call)
    cropped = _coordinate_mode(call) == "tf_crop_and_resize"
    changed = [axis for axis in axes if cropped or (tensor[axis], scales[axis]) != (out[axis], 1.0)]
    first = min(changed, default=len(tensor) - 1)
    matrices = [
        _matrix(call, tensor[axis], out[axis], scales[axis], regions[axis])
        if axis in changed
        else torch.eye(tensor[axis], dtype=torch.float64)
        for axis in range(first, len(tensor))
    ]
    return Kronecker(matrices, call.shape(0))


def _nearest(call: Call) -> LinearMap:
    """By the numbers of the pixels; as matrices where each axis reads by itself."""
    tensor = call.tensor(0)
    numbers = np.arange(1, count(tensor) + 1, dtype=np.int32).reshape(tensor)
    constants = {i: x.constant for i, x in enumerate(call.operands) if x is not None and x.constant is not None}
    (written,) = run_node(call.node, {0: numbers}, constants, call.opsets)
    if tensor[0] != 1 or len(written) != 1 or not written.all():
        return move(call.shape(0), written)
    read = np.unravel_index(written - 1, tensor)
    along = [np.moveaxis(read[axis], axis, 0).reshape(written.shape[axis], -1)[:, 0] for axis in range(1, len(tensor))]
    matrices = [
        torch.eye(size, dtype=torch.float64)[torch.from_numpy(at)] for size, at in zip(tensor[1:], along, strict=True)
    ]
    while len(matrices) > 1 and len(matrices[0]) == tensor[-len(matrices)]:
        matrices.pop(0)
    return Kronecker(matrices, call.shape(0))


def _coordinate_mode(call: Call) -> str:
    if call.op == "Upsample" or call.version < 11:
        return "asymmetric"
    return str(call.attributes.get("coordinate_transformation_mode", "half_pixel"))


def _scales(call: Call) -> list[float]:
    """How much larger each axis becomes, as the coordinates are worked out from it."""
    tensor, out = call.tensor(0), call.outputs[0]
    found = [there / here for here, there in zip(tensor, out, strict=True)]
    axes = call.attributes.get("axes", range(len(tensor)))
    old = call.op == "Upsample" or call.version < 11
    given = call.constant(1 if old else 2)
    sizes = None if old else call.constant(3)
    if "scales" in call.attributes:
        given = np.array(call.attributes["scales"])
    if given is not None and given.size:
        for axis, scale in zip(axes, given, strict=True):
            found[axis] = float(scale)
    elif sizes is not None and (policy := call.attributes.get("keep_aspect_ratio_policy", "stretch")) != "stretch":
        factors = [float(size) / tensor[axis] for axis, size in zip(axes, sizes, strict=True)]
        for axis in axes:
            found[axis] = min(factors) if policy == "not_larger" else max(factors)
    return found


def _regions(call: Call) -> list[tuple[float, float]]:
    """(start, end) an axis of the part to be cropped, in shares of the axis."""
    rank = len(call.tensor(0))
    found = [(0.0, 1.0)] * rank
    given = call.constant(1) if _coordinate_mode(call) == "tf_crop_and_resize" else None
    if given is not None and given.size:
        axes = call.attributes.get("axes", range(rank))
        for axis, start, end in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
            found[axis] = (float(start), float(end))
    return found


def _matrix(call: Call, size: int, out: int, scale: float, region: tuple[float, float]) -> Tensor:
    """What the resize does along one axis, ``(out, size)``."""
    given = call.attributes
    mode = given["mode"]
    at = _coordinates(_coordinate_mode(call), size, out, scale, region)
    widened = max(1 / scale, 1.0) if given.get("antialias") else 1.0
    reach = REACH[mode] * widened
    start = np.floor(at - reach).astype(np.int64)
    taps = start[:, None] + np.arange(2 * floor(reach) + 4)
    weight = _filter((taps - at[:, None]) / widened, mode, float(given.get("cubic_coeff_a", -0.75)))
    if given.get("exclude_outside"):
        weight = np.where((taps >= 0) & (taps < size), weight, 0)
    weight /= weight.sum(1, keepdims=True)
    if _coordinate_mode(call) == "tf_crop_and_resize":
        weight[(at < 0) | (at > size - 1)] = 0  # a constant stands there
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out)[:, None], taps.clip(0, size - 1)), weight)
    return torch.from_numpy(matrix)


def _coordinates(mode: str, size: int, out: int, scale: float, region: tuple[float, float]) -> Array:
    """Where each pixel lies among those it is made of, ``(out,)``.

    Raises:
        ValueError: no such mode.
    """
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
    raise ValueError(f"Resize knows no coordinates {mode!r}")


def _filter(x: Array, mode: str, a: float) -> Array:
    x = np.abs(x)
    if mode == "linear":
        peak: Array = np.clip(1 - x, 0, None)
        return peak
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))
