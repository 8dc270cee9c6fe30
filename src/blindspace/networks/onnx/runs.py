"""An ONNX network run twice: shapes of all its values, its constants, and the changes that maps are checked against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import FileError, UnsupportedLayerError, first_line
from ...maps import Shape
from .call import Call, Terms
from .nodes import within_reach
from .rewriting import rebuilt
from .session import Array, readable_outputs, require, session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

AGREES = {"float64": 1e-9, "float32": 1e-3, "float16": 0.05}
"""Largest difference between a map and its node, relative to the largest value, by the precision of the run."""


@dataclass(frozen=True)
class Runs:
    """The values of a network on two inputs.

    Attributes:
        first: Values on one random input by name, as far as they may be constant or affine.
        second: The same values on another random input.
        shapes: Shapes of all other values that are tensors.
        sequences: The names of the tensors in each sequence among the values.
    """

    first: Mapping[str, Array]
    second: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    sequences: Mapping[str, list[str]]

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
        """The change of a value from the first run to the second, float64; what stays infinite does not change."""
        here, there = (run[name].astype(np.float64) for run in (self.first, self.second))
        return np.subtract(there, here, out=np.zeros_like(here), where=here != there)

    def agree(self, call: Call, output: int, terms: Terms) -> bool:
        """Whether the maps take the changes of a node's inputs to the change of its output, up to rounding.

        An output of no terms must not change at all. For a layer beyond the front, whose values are not kept, nothing
        is checked.

        Raises:
            UnsupportedLayerError: The output holds whole numbers, which are a step function of the input.
        """
        name = call.node.output[output]
        if name not in self.first:
            return True
        if not terms:
            return self.steady(name)
        if self.first[name].dtype.kind != "f":
            raise UnsupportedLayerError(f"{call.op} writes whole numbers")
        left = torch.from_numpy(self.change(name).ravel())
        for index, operator in terms:
            operand = call.operands[index]
            assert operand is not None
            change = torch.from_numpy(self.change(operand.name).reshape(1, *operator.in_shape))
            left = left - operator.forward(change).flatten()
        values = np.abs([self.first[name], self.second[name]])
        allowed = AGREES.get(self.first[name].dtype.name, 0.0) * values.max(initial=0, where=np.isfinite(values))
        return bool((left.abs() <= float(allowed)).all())


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
    followed = within_reach(model, nodes, given.name)
    rest = [name for node in nodes for name in node.output if name and name not in set(followed)]
    try:
        opened = session(laid_open(model, followed, rest), as_written=True)
    except FileError:  # some of the others are lists or maps, which have no shape
        types = session(laid_open(model, rest), as_written=True).get_outputs()
        rest = [each.name for each in types if each.type.startswith("tensor")]
        opened = session(laid_open(model, followed, rest), as_written=True)
    runs = random_runs(opened, [*followed, *map(_shape_of, rest)], given, tensor)
    shapes = {name: tuple(int(n) for n in runs[0][_shape_of(name)]) for name in rest}
    kept = [name for name in (given.name, *followed) if all(name in run for run in runs)]
    lengths = {name: {len(run[name]) for run in runs} for name in kept if isinstance(runs[0][name], list)}
    sequences = {name: [part_of(name, i) for i in range(*found)] for name, found in lengths.items() if len(found) == 1}
    for run in runs:
        for name, parts in sequences.items():
            run.update(zip(parts, run[name], strict=True))
    kept = [name for name in kept if name not in lengths] + [part for parts in sequences.values() for part in parts]
    first, second = ({name: run[name] for name in kept} for run in runs)
    return Runs(first, second, shapes, sequences)


def part_of(sequence: str, index: int) -> str:
    """The name of a tensor in a sequence."""
    return f"{sequence}[{index}]"


def _shape_of(name: str) -> str:
    return f"shape of {name}"


def laid_open(model: ModelProto, values: Sequence[str], shapes: Sequence[str] = ()) -> ModelProto:
    """The model with other outputs: some values, and only the shapes of others, which take no memory."""
    onnx = require("onnx")
    taking = [onnx.helper.make_node("Shape", [name], [_shape_of(name)]) for name in shapes]
    found = rebuilt(model, [*model.graph.node, *taking])
    del found.graph.output[:]
    found.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (*values, *map(_shape_of, shapes)))
    return found


def random_runs(opened: Any, names: Sequence[str], given: ValueInfoProto, tensor: Shape) -> list[dict[str, Any]]:
    """Some outputs of a session, and its input, on two random inputs in [0, 1].

    Args:
        opened: The session.
        names: Names of outputs; those of types that numpy does not have are left out.
        given: The only input.
        tensor: Shape of the input, the batch of one included.

    Raises:
        UnsupportedLayerError: The runtime cannot run the network on such an input; the message gives the reason.
    """
    onnx = require("onnx")
    wanted = set(names)
    names = [name for name in readable_outputs(opened) if name in wanted]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
    random = np.random.default_rng(0)
    runs: list[dict[str, Any]] = []
    for _ in range(2):
        x = random.random(tensor).astype(dtype)
        try:
            results = opened.run(names, {given.name: x}) if names else []
        except Exception as error:  # the runtime's errors have no common base class
            raise UnsupportedLayerError(
                f"onnxruntime cannot run the network on an input {tensor}: {first_line(error)}"
            ) from error
        runs.append({**dict(zip(names, results, strict=True)), given.name: x})
    return runs


def same_outputs(model: ModelProto, other: ModelProto, given: ValueInfoProto, tensor: Shape) -> bool:
    """Whether two networks write the same on two random inputs, up to rounding. Arguments as ``run_twice``."""
    names = [output.name for output in model.graph.output]
    runs = [random_runs(session(each, as_written=True), names, given, tensor) for each in (model, other)]

    def near(here: Any, there: Any) -> bool:
        if isinstance(here, list):
            return len(here) == len(there) and all(map(near, here, there))
        if not isinstance(here, np.ndarray) or here.dtype.kind not in "fiub":
            return True
        share = AGREES.get(here.dtype.name, 0.0)
        return here.shape == there.shape and np.allclose(here, there, share, share, equal_nan=True)

    return all(
        near(here[name], there[name]) for here, there in zip(*runs, strict=True) for name in names if name in here
    )
