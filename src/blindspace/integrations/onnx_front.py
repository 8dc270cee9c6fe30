"""Operations put in front of an ONNX model: one graph with the model's own inputs, outputs and operator set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import UnsupportedLayerError
from ..maps import Shape
from ..networks.onnx.inputs import network_input
from ..networks.onnx.nodes import graphs_in
from ..networks.onnx.rewriting import copied
from ..networks.onnx.session import is_standard, require
from .onnx_graph import OLDEST, Graph

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

LEAST_IR = 4
"""The oldest version of the format in which a weight need not be an input."""


def in_front(emit: Callable[[Graph, str, str], None], model: ModelProto, shape: Shape) -> ModelProto:
    """A model that reads its input through further operations.

    Args:
        emit: Adds their nodes from one name to another, both batches ``(B, *shape)`` in float32.
        model: The model, which reads one input.
        shape: Shape of one image.

    Raises:
        UnsupportedLayerError: The model is written in an operator set before 7.
    """
    opset = next((each.version for each in model.opset_import if is_standard(each.domain)), 1)
    if opset < OLDEST:
        raise UnsupportedLayerError(
            f"the model is written in operator set {opset}, and {OLDEST} is the oldest that can be attached to; "
            "convert it with onnx.version_converter"
        )
    given, kind = network_input(model), require("onnx").TensorProto
    declared = given.type.tensor_type
    graph = Graph()
    x = given.name
    if declared.elem_type != kind.FLOAT:
        x = graph.add("Cast", x, to=kind.FLOAT)
    found = graph.name("image")
    emit(graph, graph.reshape(x, shape), found)
    sizes = [dim.dim_value if dim.dim_value > 0 else -1 for dim in declared.shape.dim]
    sizes = sizes if sizes.count(-1) < 2 and sizes else [-1, *shape]
    found = graph.add("Reshape", found, graph.constant(sizes, "shape"))
    if declared.elem_type != kind.FLOAT:
        found = graph.add("Cast", found, to=declared.elem_type)
    whole = copied(model)
    for node in whole.graph.node:
        _reread(node, given.name, found)
    nodes = [*graph.nodes, *whole.graph.node]
    del whole.graph.node[:]
    whole.graph.node.extend(nodes)
    whole.graph.initializer.extend(graph.weights.values())
    whole.ir_version = max(whole.ir_version, LEAST_IR)
    return whole


def _reread(node: NodeProto, old: str, new: str) -> None:
    """Make a node, and the graphs inside it, read another value."""
    node.input[:] = [new if name == old else name for name in node.input]
    for graph in graphs_in(node):
        _reread_inside(graph, old, new)


def _reread_inside(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        _reread(node, old, new)
    for output in graph.output:
        output.name = new if output.name == old else output.name
