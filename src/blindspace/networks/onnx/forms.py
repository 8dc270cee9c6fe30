"""Models as functions from images to tensors: unread inputs, maps as outputs and batches of one size taken away."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .inputs import inputs_of
from .nodes import captured, needed
from .rewriting import copied, rebuilt
from .session import Array, readable_outputs, require, session

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

SIZED = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0, "Tile": 1}
"""Operations that read sizes, with the place of these among their inputs."""

BATCH = "number of images"
"""Name of the size of a batch."""

CHANNELS = (1, 3, 4)
"""First sizes of three by which they are taken for those of one picture."""

ALIKE = 1e-3
"""Relative difference up to which outputs of an image count as the same in batches of different sizes."""


def brought_into_form(model: ModelProto, named: Container[str], asked: Sequence[int] | None) -> ModelProto:
    """A model as a function from images to tensors.

    Args:
        model: A checked model.
        named: Names of inputs that are kept, also if nothing reads them.
        asked: Shape of one input as the user gives it, of which a first axis of several is then part or not; it is a
            batch, if it can be, if None.
    """
    model = _without_maps(model)
    model = _without_unread_inputs(model, named)
    return _for_any_batch(model, asked)


def _without_maps(model: ModelProto) -> ModelProto:
    """The model with tensors of probabilities in the place of maps from classes to them, which scikit-learn's have."""
    onnx = require("onnx")
    maps = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ZipMap"}
    if not maps:
        return model
    nodes = [
        onnx.helper.make_node("Identity", node.input, node.output, name=node.name) if node.op_type == "ZipMap" else node
        for node in model.graph.node
    ]
    found = rebuilt(model, nodes)
    for output in found.graph.output:
        if output.name in maps:
            output.type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    return found


def _without_unread_inputs(model: ModelProto, named: Container[str]) -> ModelProto:
    """The model without the inputs that no output depends on, as exporters leave them, if others remain."""
    nodes = needed(model.graph)
    read = {name for node in nodes for name in [*node.input, *captured(node)]} | {
        each.name for each in model.graph.output
    }
    inputs = inputs_of(model)
    unread = {each.name for each in inputs if each.name not in read and each.name not in named}
    if not unread or len(unread) == len(inputs):
        return model
    found = rebuilt(model, nodes)
    kept = [each for each in found.graph.input if each.name not in unread]
    del found.graph.input[:]
    found.graph.input.extend(kept)
    return found


def _for_any_batch(model: ModelProto, asked: Sequence[int] | None) -> ModelProto:
    """A model for batches of one size as one for any, if it writes the same; else the model."""
    inputs = inputs_of(model)
    dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else []
    sizes = [dim.dim_value for dim in dims]
    image = len(sizes) == 3 and sizes[0] in CHANNELS and asked is None
    if len(sizes) < 2 or sizes[0] < 2 or min(sizes) < 1 or image or list(asked or sizes[1:]) != sizes[1:]:
        return model
    found = _freed(model, inputs[0].name, sizes[0])
    return found if _write_the_same(model, found, inputs[0], sizes[0]) else model


def _freed(model: ModelProto, given: str, batch: int) -> ModelProto:
    """The model with an open first size, which stands for that number wherever constant sizes begin with it."""
    onnx = require("onnx")
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == 7}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and attribute.t.data_type == 7:
                constants[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
    make, one = onnx.helper.make_node, f"{BATCH} alone"
    bounds = {f"{BATCH} {word}": np.array([number], np.int64) for word, number in (("from", 0), ("to", 1))}
    nodes = [make("Shape", [given], [f"{BATCH} shape"]), make("Slice", [f"{BATCH} shape", *bounds], [one])]
    weights: dict[str, Array] = dict(bounds)
    for number, node in enumerate(model.graph.node):
        place = SIZED.get(node.op_type)
        sizes = constants.get(node.input[place]) if place is not None and len(node.input) > place else None
        if sizes is not None and sizes.ndim == 1 and len(sizes) and sizes[0] == batch:
            name = f"{BATCH} before {number}"
            weights[f"{name} rest"] = sizes[1:]
            nodes.append(make("Concat", [one, f"{name} rest"], [name], axis=0))
            node = copied(node)
            node.input[place] = name
        nodes.append(node)
    found = rebuilt(model, nodes, [onnx.numpy_helper.from_array(x, name) for name, x in weights.items()])
    del found.graph.value_info[:]  # it states sizes
    for value in (*(each for each in found.graph.input if each.name == given), *found.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
    return found


def _write_the_same(model: ModelProto, other: ModelProto, given: ValueInfoProto, batch: int) -> bool:
    """Whether a model writes for one image, and for two, what another one wrote for them in a batch."""
    tensor = given.type.tensor_type
    dtype = require("onnx").helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    x = np.random.default_rng(0).random([dim.dim_value for dim in tensor.shape.dim]).astype(dtype)
    try:
        opened = [session(each) for each in (model, other)]
        names = readable_outputs(opened[0])
        whole, *parts = (
            each.run(names, {given.name: x[:n]}) for each, n in zip((*opened, opened[1]), (batch, 1, 2), strict=True)
        )
    except Exception:  # the runtime's errors have no common base class
        return False
    return bool(names) and all(_begins(y, z) for part in parts for y, z in zip(part, whole, strict=True))


def _begins(rows: Any, whole: Any) -> bool:
    """Whether a tensor is the beginning of another one, up to rounding."""
    if (
        not isinstance(rows, np.ndarray)
        or not isinstance(whole, np.ndarray)
        or not rows.ndim
        or rows.dtype.kind not in "fiub"
    ):
        return False
    expected = whole[: len(rows)]
    size = np.abs(expected.astype(np.float64)).max(initial=0)
    return rows.shape == expected.shape and bool(np.allclose(rows, expected, 0, ALIKE * size, equal_nan=True))
