"""What a network reads and writes, chosen: inputs held at given values, several inputs as one, outputs by name."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...errors import ShapeError, UnknownNameError, UnsupportedLayerError, ValueRangeError
from ...maps import Shape
from .rewriting import copied
from .session import Array, require

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

FLOATS = (1, 10, 11)
"""ONNX's numbers of float32, float16 and float64."""

TOGETHER = "inputs"
"""Name of the input that stands for several."""


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs of a network; weights that may be given as inputs do not count."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [value for value in model.graph.input if value.name not in weights]


def network_input(model: ModelProto, beside: Container[str] = ()) -> ValueInfoProto:
    """The only input of a network besides those that are named.

    Raises:
        UnsupportedLayerError: The network has several inputs, or none.
    """
    inputs = [value for value in inputs_of(model) if value.name not in beside]
    if len(inputs) == 1:
        return inputs[0]
    if not inputs:
        raise UnsupportedLayerError("the network reads no input; it must read one")
    described = ", ".join(f"{value.name} {described_input(value)}" for value in inputs)
    last = inputs[-1].name
    floats = [value.name for value in inputs if value.type.tensor_type.elem_type in FLOATS]
    jointly = f", or vary several jointly, --vary {' --vary '.join(floats)}" if len(floats) > 1 else ""
    raise UnsupportedLayerError(
        f"the network reads {len(inputs)} inputs ({described}); hold others at a value, --fix {last}=FILE "
        f"(fix={{{last!r}: …}}){jointly}"
    )


def chosen(
    model: ModelProto, vary: Mapping[str, Shape | None], fix: Mapping[str, Any], outputs: Sequence[str]
) -> tuple[ModelProto, dict[str, Array]]:
    """The network as a function of the inputs that vary, and the values of the others.

    Args:
        model: A checked model.
        vary: The inputs that vary, each with its shape without the batch, or None; all that are not held if empty.
            Several are read as one vector, in this order.
        fix: Values at which inputs are held, by their names: arrays, tensors or numbers in the shape that the network
            reads; a first axis of one, the batch, may be left out.
        outputs: Names of the outputs to use; all if empty.

    Raises:
        UnknownNameError: There is no input or output of a name.
        ValueRangeError: An input varies and is held.
        ShapeError: A value or an input has another shape, or no numbers of the type that the network reads.
        UnsupportedLayerError: One of several varying inputs is no tensor of floating-point numbers.
    """
    inputs = {value.name: value for value in inputs_of(model)}
    for name in (*vary, *fix):
        if name not in inputs:
            raise UnknownNameError(f"the network reads no input {name!r}; there are {', '.join(inputs)}")
    if both := [name for name in vary if name in fix]:
        raise ValueRangeError(f"{', '.join(both)} cannot vary and be held at a value at once; choose one")
    values = {name: _value(inputs[name], value) for name, value in fix.items()}
    if outputs:
        model = selected(model, outputs)
    complete = len(vary) > 1 and set(inputs) == {*vary, *fix}
    return joined(model, vary) if complete else model, values


def described_input(given: ValueInfoProto) -> str:
    """Type and sizes of an input in words, such as ``float 1 × ? × 28``."""
    sizes = [dim.dim_value if dim.dim_value > 0 else None for dim in given.type.tensor_type.shape.dim]
    return " ".join(filter(None, [type_name(given), spelled(sizes)]))


def fits(given: ValueInfoProto, tensor: Shape) -> bool:
    """Whether a tensor of a shape has the sizes that an input declares."""
    dims = given.type.tensor_type.shape.dim
    return len(dims) == len(tensor) and all(
        dim.dim_value < 1 or dim.dim_value == n for dim, n in zip(dims, tensor, strict=True)
    )


def full_shape(given: ValueInfoProto, input_shape: Shape) -> Shape:
    """Shape of the tensor that a network reads, with a batch of one if the network has a batch axis."""
    declared = given.type.tensor_type
    if declared.HasField("shape") and not declared.shape.dim:
        return ()
    unbatched = declared.HasField("shape") and len(declared.shape.dim) == len(input_shape)
    return input_shape if unbatched else (1, *input_shape)


def spelled(sizes: Sequence[int | None]) -> str:
    """Sizes in words, with a question mark for those that are open."""
    return " × ".join("?" if size is None else str(size) for size in sizes)


def type_name(given: ValueInfoProto) -> str:
    """The type of the numbers of an input in words."""
    kind = given.type.tensor_type.elem_type
    return str(require("onnx").TensorProto.DataType.Name(kind)).lower() if kind else "something that is not a tensor"


def held(model: ModelProto, values: Mapping[str, Array]) -> ModelProto:
    """The network with constants in the place of some inputs."""
    onnx = require("onnx")
    found = copied(model)
    found.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    kept = [each for each in found.graph.input if each.name not in values]
    del found.graph.input[:]
    found.graph.input.extend(kept)
    # Weights that are no inputs are constant only since version 4 of the format.
    found.ir_version = max(found.ir_version, 4)
    return found


def _value(given: ValueInfoProto, value: Any) -> Array:
    """A value in the type and shape of an input."""
    array: Array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    kind = given.type.tensor_type.elem_type
    dtype = require("onnx").helper.tensor_dtype_to_np_dtype(kind) if kind else np.dtype(object)
    if array.dtype != dtype and (array.dtype.kind not in "fiub" or dtype.kind not in "fiub"):
        raise ShapeError(f"the input {given.name} is {described_input(given)}, got {array.dtype} to hold it at")
    whole = dtype.kind in "iu" and array.dtype.kind == "f"
    if whole and not np.array_equal(array, np.round(array)):
        raise ShapeError(f"the input {given.name} reads whole numbers ({type_name(given)}), got others to hold it at")
    if not given.type.tensor_type.HasField("shape"):
        return array.astype(dtype)
    if not fits(given, array.shape) and fits(given, (1, *array.shape)):
        array = array[None]
    if not fits(given, array.shape):
        raise ShapeError(f"the input {given.name} is {described_input(given)}, got shape {array.shape} to hold it at")
    return array.astype(dtype)


def joined(model: ModelProto, vary: Mapping[str, Shape | None]) -> ModelProto:
    """The network with several inputs as one vector, flattened and side by side.

    Args:
        model: A checked model.
        vary: The inputs in their order, each with its shape without the batch, or None. An open size is then 1 if it is
            that of a batch: the first one of an input, or one of the same name.

    Raises:
        UnsupportedLayerError: An input is no tensor of floating-point numbers.
        ShapeError: An input leaves other sizes open, or has another shape.
    """
    onnx = require("onnx")
    every = {value.name: value for value in inputs_of(model)}
    inputs = [every[name] for name in vary]
    batches = {dim.dim_param for each in inputs for dim in each.type.tensor_type.shape.dim[:1]} - {""}
    shapes: list[Shape] = []
    for given in inputs:
        declared = given.type.tensor_type
        if declared.elem_type not in FLOATS:
            raise UnsupportedLayerError(
                f"the input {given.name} is {described_input(given)}, which has no small changes; hold it at a value: "
                f"--fix {given.name}=FILE (fix={{{given.name!r}: …}})"
            )
        sizes = [
            1 if dim.dim_value < 1 and (index == 0 or dim.dim_param in batches) else dim.dim_value
            for index, dim in enumerate(declared.shape.dim)
        ]
        asked = vary[given.name]
        if asked is not None:
            full = full_shape(given, asked)
            if declared.HasField("shape") and not fits(given, full):
                raise ShapeError(f"the input {given.name} is {described_input(given)}, got the shape {asked}")
            sizes = list(full)
        if min(sizes, default=1) < 1 or not (declared.HasField("shape") or asked):
            raise ShapeError(
                f"the input {given.name} is {described_input(given)}, open in some sizes; give its shape: "
                f"--vary {given.name}=SHAPE (vary={{{given.name!r}: shape}})"
            )
        shapes.append(tuple(sizes))
    found = copied(model)
    kind = max((given.type.tensor_type.elem_type for given in inputs), key=(10, 1, 11).index)
    nodes = []
    start = 0
    for given, shape in zip(inputs, shapes, strict=True):
        name = f"{TOGETHER} to {given.name}"
        constants = {"from": [start], "to": [start + prod(shape)], "shape": shape}
        for word, numbers in constants.items():
            found.graph.initializer.append(onnx.numpy_helper.from_array(np.array(numbers, np.int64), f"{name} {word}"))
        slicing = [TOGETHER, f"{name} from", f"{name} to", f"{TOGETHER} axis"]
        nodes += [
            onnx.helper.make_node("Slice", slicing, [f"{name} part"], name=f"{name} part"),
            onnx.helper.make_node("Reshape", [f"{name} part", f"{name} shape"], [f"{name} shaped"], name=name),
            onnx.helper.make_node("Cast", [f"{name} shaped"], [given.name], to=given.type.tensor_type.elem_type),
        ]
        start += prod(shape)
    found.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), f"{TOGETHER} axis"))
    nodes += list(found.graph.node)
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    names = {given.name for given in inputs}
    kept = [each for each in found.graph.input if each.name not in names]
    del found.graph.input[:]
    found.graph.input.extend([onnx.helper.make_tensor_value_info(TOGETHER, kind, [1, start]), *kept])
    return found


def selected(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """The network with some of its outputs, in the given order.

    Raises:
        UnknownNameError: The network has no such output.
    """
    written = {output.name: output for output in model.graph.output}
    for name in outputs:
        if name not in written:
            raise UnknownNameError(f"no output is called {name!r}; there are {', '.join(written)}")
    found = copied(model)
    del found.graph.output[:]
    found.graph.output.extend(written[name] for name in dict.fromkeys(outputs))
    return found
