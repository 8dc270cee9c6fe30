"""An ONNX network run twice: shapes of all its values, its constants, and the changes that maps are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import FileError, UnsupportedLayerError, first_line
from ...maps import Shape
from .call import Call, Terms
from .nodes import within_reach
from .session import Array, require, session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

AGREES = {"float64": 1e-9, "float32": 1e-3, "float16": 0.05}
"""Largest difference between a map and its node, relative to the largest value, by the precision of the run."""

ROUNDED = 1.001
"""Largest difference between the changes of a rounded number and of the number itself, in rounding steps."""


@dataclass(frozen=True)
class Runs:
    """The values of a network on two inputs.

    Attributes:
        first: Values on one random input by name, as far as they may be constant or affine.
        second: The same values on another random input.
        shapes: Shapes of all other values that are tensors.
    """

    first: Mapping[str, Array]
    second: Mapping[str, Array]
    shapes: Mapping[str, Shape]

    def shape(self, name: str) -> Shape:
        """Shape of a value; ``()`` if it is not a tensor."""
        return self.shapes.get(name, tuple(getattr(self.first.get(name), "shape", ())))

    def steady(self, name: str) -> bool:
        """Whether a value is a tensor that is the same in both runs."""
        here, there = self.first.get(name), self.second.get(name)
        if not isinstance(here, np.ndarray) or not isinstance(there, np.ndarray):
            return False
        return here.dtype == there.dtype and here.tobytes() == there.tobytes() and here.shape == there.shape

    def change(self, name: str) -> Array:
        """The change of a value from the first run to the second, float64."""
        return self.second[name].astype(np.float64) - self.first[name].astype(np.float64)

    def agree(self, call: Call, output: int, terms: Terms) -> bool:
        """Whether the maps take the changes of a node's inputs to the change of its output, up to rounding.

        For a layer beyond the front, whose values are not kept, this is not checked.
        """
        name = call.node.output[output]
        if name not in self.first:
            return True
        left = torch.from_numpy(self.change(name).ravel())
        for index, operator in terms:
            operand = call.operands[index]
            assert operand is not None
            change = torch.from_numpy(self.change(operand.name).reshape(1, *operator.in_shape))
            left = left - operator.forward(change).flatten()
        values = np.abs([self.first[name], self.second[name]]).max(initial=0)
        share = AGREES.get(self.first[name].dtype.name, 0.0)
        allowed = ROUNDED if call.op == "QuantizeLinear" else share * float(values)
        return bool((left.abs() <= allowed).all())


def run_twice(model: ModelProto, nodes: list[NodeProto], given: ValueInfoProto, tensor: Shape) -> Runs:
    """Run a network on two random inputs and keep what its nodes write.

    Args:
        model: The model with all its weights inside.
        nodes: The nodes of interest.
        given: The input.
        tensor: Shape of the input, the batch of one included.

    Raises:
        UnsupportedLayerError: The runtime cannot run the network on such an input; the message gives the reason.
        FileError: The runtime cannot run the network at all.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    onnx = require("onnx")
    followed = within_reach(model, nodes, given.name)
    rest = [name for node in nodes for name in node.output if name and name not in set(followed)]
    try:
        opened = session(_laid_open(model, followed, rest), as_written=True)
    except FileError:  # some of the others are lists or maps, which have no shape
        rest = []
        opened = session(_laid_open(model, followed, rest), as_written=True)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    random = np.random.default_rng(0)
    runs: list[dict[str, Array]] = []
    for _ in range(2):
        x = random.random(tensor).astype(dtype)
        try:
            results = opened.run(None, {given.name: x})
        except Exception as error:  # the runtime's errors have no common base class
            raise UnsupportedLayerError(
                f"onnxruntime cannot run the network on an input {tensor}: {first_line(error)}"
            ) from error
        runs.append({**dict(zip([*followed, *rest], results, strict=True)), given.name: x})
    shapes = {name: tuple(int(n) for n in runs[0][name]) for name in rest}
    first, second = ({name: run[name] for name in (given.name, *followed)} for run in runs)
    return Runs(first, second, shapes)


def _laid_open(model: ModelProto, values: Sequence[str], shapes: Sequence[str]) -> ModelProto:
    """The model with other outputs: some values, and only the shapes of others, which take no memory."""
    onnx = require("onnx")
    found: ModelProto = onnx.ModelProto()
    found.CopyFrom(model)
    named = [f"shape of {name}" for name in shapes]
    found.graph.node.extend(
        onnx.helper.make_node("Shape", [name], [written]) for name, written in zip(shapes, named, strict=True)
    )
    del found.graph.output[:]
    found.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (*values, *named))
    return found


def full_shape(given: ValueInfoProto, input_shape: Shape) -> Shape:
    """Shape of the tensor that a network reads, with a batch of one if the network has a batch axis."""
    declared = given.type.tensor_type
    unbatched = declared.HasField("shape") and len(declared.shape.dim) == len(input_shape)
    return input_shape if unbatched else (1, *input_shape)


def network_input(model: ModelProto) -> ValueInfoProto:
    """The input of a network; weights that may be given as inputs do not count.

    Raises:
        UnsupportedLayerError: The network has several inputs, or none.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    inputs: list[ValueInfoProto] = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedLayerError(f"the network reads {len(inputs)} inputs ({names}); it must read exactly one")
    return inputs[0]
