"""Graphs rewritten to ones that mean the same, so that more of them can be followed.

Names that are not UTF-8 are spelled out, constants become weights, operations that onnxruntime fuses are taken apart,
and the nodes in the branches of a condition stand outside of it: what has no side effects may be computed in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .fused import apart
from .nodes import captured, graphs_in
from .session import is_standard, require

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Message = TypeVar("Message", bound=Any)


def readable(message: Any) -> None:
    """Spell out, in a model or a part of it, the bytes of names that are not UTF-8."""
    for described, value in message.ListFields():
        if isinstance(value, bytes):
            if described.type == described.TYPE_STRING:
                setattr(message, described.name, value.decode("utf-8", "backslashreplace"))
        elif hasattr(value, "ListFields"):
            readable(value)
        elif described.type == described.TYPE_STRING and any(isinstance(each, bytes) for each in value):
            value[:] = [each.decode("utf-8", "backslashreplace") if isinstance(each, bytes) else each for each in value]
        elif described.type == described.TYPE_MESSAGE:
            for part in value:
                readable(part)


def in_order(model: ModelProto) -> ModelProto:
    """The model with every node behind those whose outputs it reads, which the standard asks for and the runtime not.

    Unchanged if there is no such order.
    """
    waiting, found = list(model.graph.node), []
    unmade = {name for node in waiting for name in node.output}
    while waiting:
        ready = [node for node in waiting if not unmade & {*node.input, *captured(node)}]
        if not ready:
            return model
        found += ready
        unmade -= {name for node in ready for name in node.output}
        waiting = [node for node in waiting if all(node is not other for other in ready)]
    return rebuilt(model, found)


# --- operations in simpler terms ---------------------------------------------------------------------------


def simplified(model: ModelProto) -> ModelProto:
    """The model with local functions inlined, constants as weights, and fused operations taken apart."""
    if model.functions:
        model = require("onnx.inliner").inline_local_functions(model)
    onnx = require("onnx")
    nodes: list[NodeProto] = []
    weights = []
    known = _Arrays({weight.name: weight for weight in model.graph.initializer})
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and is_standard(node.domain) and value is not None:
            weights.append(copied(value))
            weights[-1].name = node.output[0]
        elif (parts := apart(node, known)) is not None:
            nodes += parts.nodes
            weights += [onnx.numpy_helper.from_array(x, name) for name, x in parts.weights.items()]
        else:
            nodes.append(node)
    return rebuilt(model, nodes, weights)


class _Arrays(Mapping[str, Any]):
    """Weights as arrays by their names, made when they are asked for."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Any:
        return require("onnx").numpy_helper.to_array(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


# --- conditions --------------------------------------------------------------------------------------------


def can_be_taken_apart(node: NodeProto) -> bool:
    """Whether a node is a condition that does more in its branches than to pass values on."""
    return (
        is_standard(node.domain)
        and node.op_type == "If"
        and any(inner.op_type != "Identity" for graph in graphs_in(node) for inner in graph.node)
    )


def branches_outside(model: ModelProto, conditions: Mapping[str, bool | None]) -> ModelProto:
    """The model with the nodes in the branches of conditions before them, so that these only choose.

    Args:
        model: The model.
        conditions: By the first output of each condition, which branch is taken; None if that depends on the input.
    """
    onnx = require("onnx")
    nodes: list[NodeProto] = []
    weights: list[Any] = []
    for node in model.graph.node:
        if node.op_type != "If" or node.output[0] not in conditions:
            nodes.append(node)
            continue
        taken = conditions[node.output[0]]
        branches = {a.name: a.g for a in node.attribute}
        chosen: dict[str, GraphProto] = {}
        for key, branch in branches.items():
            if taken is not None and key != ("then_branch" if taken else "else_branch"):
                continue
            inside = _renamed(branch, f"{node.output[0]}/{key}/")
            nodes += inside.node
            weights += inside.initializer
            written = [output.name for output in inside.output]
            if taken is not None:
                nodes += [
                    onnx.helper.make_node("Identity", [name], [kept])
                    for name, kept in zip(written, node.output, strict=True)
                ]
                continue
            chosen[key] = onnx.helper.make_graph(
                [onnx.helper.make_node("Identity", [name], [f"{name} chosen"]) for name in written], key, [], []
            )
            for output in inside.output:
                output.name = f"{output.name} chosen"
            chosen[key].output.extend(inside.output)
        if taken is None:
            nodes.append(onnx.helper.make_node("If", node.input, node.output, name=node.name, **chosen))
    return rebuilt(model, nodes, weights)


def _renamed(graph: GraphProto, prefix: str) -> GraphProto:
    """A graph whose own values have a prefix to their names, so that it can stand beside others."""
    own = {name for node in graph.node for name in node.output if name} | {w.name for w in graph.initializer}
    found: GraphProto = copied(graph)
    _rename(found, {name: prefix + name for name in own})
    for weight in found.initializer:
        weight.name = prefix + weight.name
    for node in found.node:
        node.name = prefix + node.name if node.name else ""
        node.output[:] = [prefix + name if name else "" for name in node.output]
    return found


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Other names for some values that a graph reads or writes, in the graphs inside it too."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for inner in graphs_in(node):
            hidden = {v.name for v in (*inner.input, *inner.initializer)} | {
                n for each in inner.node for n in each.output
            }
            _rename(inner, {name: other for name, other in names.items() if name not in hidden})
    for output in graph.output:
        output.name = names.get(output.name, output.name)


def rebuilt(model: ModelProto, nodes: Iterable[NodeProto], weights: Iterable[Any] = ()) -> ModelProto:
    """The model with other nodes and more weights."""
    found: ModelProto = copied(model)
    nodes = [copied(node) for node in nodes]
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    found.graph.initializer.extend(weights)
    return found


def copied(message: Message) -> Message:
    """A copy of a model or a part of it."""
    found: Message = type(message)()
    found.CopyFrom(message)
    return found
