"""A quantised network as the one that it was before its values were rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...maps import Shape
from .rewriting import rebuilt, simplified
from .runs import laid_open, random_runs
from .session import Array, require, session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
"""Smallest and largest of the whole numbers that values are rounded to, by their type."""


def unrounded(model: ModelProto, given: ValueInfoProto, tensor: Shape) -> ModelProto:
    """A quantised network as the network that it was before its values were rounded.

    A QuantizeLinear then divides and clips but does not round, and the DequantizeLinear behind it multiplies. Of the
    clippings only those are kept that change a value in one of two runs on random inputs in [0, 1], such as one into
    which a ReLU was fused. A QuantizeLinear by several steps, or by one that is no weight, stays as it is.

    Args:
        model: A checked model.
        given: Its only input.
        tensor: Shape of the input, the batch included.

    Raises:
        FileError, UnsupportedLayerError: The runtime cannot run the network.
    """
    model = simplified(model)
    found, clipped = _unrounded(model, set())
    opened = session(laid_open(found, [*clipped, *clipped.values()]), as_written=True)
    runs = random_runs(opened, [*clipped, *clipped.values()], given, tensor)
    idle = {
        written for written, read in clipped.items() if all(np.array_equal(run[written], run[read]) for run in runs)
    }
    return _unrounded(model, idle)[0]


def _unrounded(model: ModelProto, idle: set[str]) -> tuple[ModelProto, dict[str, str]]:
    """The network without rounding and some clippings; and what each clipping writes, with what it reads."""
    onnx = require("onnx")
    arrays = {weight.name: onnx.numpy_helper.to_array(weight) for weight in model.graph.initializer}
    nodes: list[NodeProto] = []
    weights: dict[str, Array] = {}
    clipped: dict[str, str] = {}
    floats: set[str] = set()

    def then(op: str, read: str, number: float, written: str, dtype: Any) -> str:
        weights[f"{written} {op}"] = np.array(number, dtype)
        nodes.append(onnx.helper.make_node(op, [read, f"{written} {op}"], [written], name=f"{written} {op}"))
        return written

    for node in model.graph.node:
        step, zero = (arrays.get(name) for name in (*node.input[1:3], "", "")[:2])
        other = any(attribute.name in ("output_dtype", "block_size") for attribute in node.attribute)
        limits = None if other else LIMITS.get("uint8" if zero is None else zero.dtype.name)
        scaled = step is not None and step.size == 1 and limits is not None
        rounds = node.op_type == "QuantizeLinear" and scaled
        if not rounds and not (node.op_type == "DequantizeLinear" and scaled and node.input[0] in floats):
            nodes.append(node)
            if floats & set(node.input):
                floats.update(node.output)
            continue
        assert step is not None
        assert limits is not None
        written, offset = node.output[0], 0.0 if zero is None else float(zero.reshape(()))
        size, dtype = float(step.reshape(())), step.dtype
        if not rounds:
            then("Mul", then("Sub", node.input[0], offset, f"{written} shifted", dtype), size, written, dtype)
            continue
        floats.add(written)
        stepped = then("Div", node.input[0], size, f"{written} stepped", dtype)
        if written in idle:
            then("Add", stepped, offset, written, dtype)
            continue
        read = then("Add", stepped, offset, f"{written} shifted", dtype)
        then("Min", then("Max", read, limits[0], f"{written} above", dtype), limits[1], written, dtype)
        clipped[written] = read
    found = rebuilt(model, nodes, [onnx.numpy_helper.from_array(x, name) for name, x in weights.items()])
    del found.graph.value_info[:]  # it states whole numbers
    return found, clipped
