"""ONNX operations that write values as they read them, elsewhere or not at all; constants beside them drop out.

The runtime itself says where to: it runs the operation on the numbers of the values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...errors import ShapeError
from ...maps import Gather, LinearMap, Padding, Rearrange, Shape, gather
from ...maps.properties import positions
from .call import Call, Terms, count, linear, rule, value_shape
from .session import Array, run_node

KEEPING = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast", "Transpose")
"""Operations after which all values are there: who reads what they write reads what they read."""

FLOATS = (1, 10, 11)
"""ONNX's numbers of float32, float16 and float64."""

PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""ONNX's names of what stands outside, but for a constant, and torch's."""


@linear("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _same(call: Call) -> LinearMap:
    return Rearrange(call.shape(0), call.out_shape())


@linear("Dropout")
def _dropout(call: Call) -> LinearMap | None:
    training = call.constant(2)
    if call.version < 7 and not call.attributes.get("is_test"):
        return None
    return None if training is not None and training.any() else _same(call)


@linear("Cast")
def _cast(call: Call) -> LinearMap | None:
    """Between floating-point types, as exact as any arithmetic in them; whole numbers round."""
    return _same(call) if call.attributes["to"] in FLOATS else None


@linear("Transpose")
def _transposed(call: Call) -> LinearMap:
    tensor = call.tensor(0)
    order = call.attributes.get("perm", range(len(tensor))[::-1])
    return Rearrange(call.shape(0), call.out_shape(), tensor, order)


@linear("DepthToSpace")
def _depth_to_space(call: Call) -> LinearMap:
    (n, c, h, w), b = call.tensor(0), call.attributes["blocksize"]
    if call.attributes.get("mode", "DCR") == "DCR":
        return Rearrange(call.shape(0), call.out_shape(), (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2))
    return Rearrange(call.shape(0), call.out_shape(), (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3))


@linear("SpaceToDepth")
def _space_to_depth(call: Call) -> LinearMap:
    (n, c, h, w), b = call.tensor(0), call.attributes["blocksize"]
    order = (0, 3, 5, 1, 2, 4) if call.attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return Rearrange(call.shape(0), call.out_shape(), (n, c, h // b, b, w // b, b), order)


@rule(
    "Slice", "Pad", "Concat", "Split", "Gather", "GatherElements", "GatherND", "Expand", "Tile", "Trilu",
    "CenterCropPad", "ReverseSequence",
)  # fmt: skip
def _moved(call: Call) -> list[Terms] | None:
    """Each operand by itself, with zeros for the others; what constants write is written without it, too."""
    if call.op != "Concat" and call.varying != [0]:
        return None  # what says where to is not known
    constants = {i: x.constant for i, x in enumerate(call.operands) if x is not None and x.constant is not None}
    beside = {i: x.astype(np.float64) if x.dtype.kind == "f" else x for i, x in constants.items()}
    zeros = {i: np.zeros(call.tensor(i)) for i in call.varying}
    still = run_node(call.node, zeros, beside, call.opsets)
    found: list[Terms] = [[] for _ in call.outputs]
    for index in call.varying:
        numbers = np.arange(1.0, count(call.tensor(index)) + 1).reshape(call.tensor(index))
        written = run_node(call.node, {**zeros, index: numbers}, beside, call.opsets)
        for terms, tensor, without in zip(found, written, still, strict=True):
            terms.append((index, move(call.shape(index), np.rint(tensor - without), _modes(call))))
    return found


def move(in_shape: Shape, numbers: Array, candidates: Sequence[Padding] = ()) -> LinearMap:
    """The map that writes values where their numbers stand, as simply as it can be said.

    Args:
        in_shape: of the value that is read.
        numbers: from 1, of the values that a tensor holds, 0 for none.
        candidates: what it may be, besides zero padding and cropping.
    """
    read = torch.from_numpy(numbers.astype(np.int64).ravel()) - 1
    out_shape = value_shape(numbers.shape)
    found = gather(in_shape, out_shape, read)
    if isinstance(found, Gather):
        for padding in (*candidates, _block(in_shape, out_shape, read)):
            if padding is not None and padding.out_shape == out_shape:
                same = positions(padding)
                if same is not None and torch.equal(same, read):
                    return padding
    return found


def _block(in_shape: Shape, out_shape: Shape, read: torch.Tensor) -> Padding | None:
    """Zero padding and cropping that agree with the first value that is read, the only ones that can be."""
    inside = (read >= 0).nonzero().flatten()
    if len(in_shape) != len(out_shape) or not len(inside):
        return None
    there = np.unravel_index(int(inside[0]), out_shape)
    here = np.unravel_index(int(read[inside[0]]), in_shape)
    before = [int(t - h) for t, h in zip(there, here, strict=True)]
    amounts = [(b, o - i - b) for b, i, o in zip(before, in_shape, out_shape, strict=True)]
    return _padding(in_shape, amounts)


def _modes(call: Call) -> list[Padding]:
    """The padding of a Pad that is not by a constant."""
    mode = call.attributes.get("mode", "constant")
    if call.op != "Pad" or mode not in PAD_MODES:
        return []
    tensor = call.tensor(0)
    pads = call.attributes.get("pads", call.constant(1))
    if pads is None:
        return []
    axes = call.axes(3) or list(range(len(tensor)))
    amounts = [(0, 0)] * len(tensor)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        amounts[axis] = (int(before), int(after))
    padding = _padding(call.shape(0), amounts[len(tensor) - len(call.shape(0)) :], PAD_MODES[mode])
    return [padding] if padding is not None else []


def _padding(in_shape: Shape, amounts: Sequence[tuple[int, int]], mode: str = "zeros") -> Padding | None:
    """Padding by amounts for every axis, which it leaves the first axes out of; None where it cannot be said so."""
    changed = [axis for axis, amount in enumerate(amounts) if amount != (0, 0)]
    if not changed or changed[0] == 0:
        return None
    try:
        return Padding(in_shape, amounts[changed[0] :], mode)
    except ShapeError:
        return None
