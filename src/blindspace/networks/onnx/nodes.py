"""The nodes of an ONNX graph: the needed ones, the names that they read, and the values that may be affine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .call import RULES
from .columns import LINEAR
from .session import is_standard, operation

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
"""Operations whose outputs are not constant even if all their inputs are."""

SHAPES = ("Shape", "Size", "EyeLike")
"""Operations that read only shapes."""


SEQUENCES = (
    "SplitToSequence", "SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceAt",
    "ConcatFromSequence", "SequenceLength",
)  # fmt: skip
"""Operations on lists of tensors."""


def needed(graph: GraphProto) -> list[NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    names = {output.name for output in graph.output}
    found = []
    for node in reversed(graph.node):
        if names & set(node.output):
            names |= {*node.input, *captured(node)} - {""}
            found.append(node)
    return found[::-1]


def values_read(node: NodeProto) -> list[str]:
    """The inputs of a node whose values it reads, not only their types; empty names for those that it leaves out."""
    return list(node.input[:1] if node.op_type == "CastLike" else node.input)


def captured(node: NodeProto) -> list[str]:
    """The names that the graphs inside a node (a loop or a condition) read from outside."""
    return list(dict.fromkeys(name for graph in graphs_in(node) for name in _free(graph)))


def graphs_in(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node."""
    return [graph for a in node.attribute for graph in ([a.g] if a.HasField("g") else a.graphs)]


def _free(graph: GraphProto) -> Iterator[str]:
    """The names that a graph reads without defining them."""
    defined = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in (*node.input, *captured(node)) if name and name not in defined)
        defined.update(node.output)
    yield from (output.name for output in graph.output if output.name not in defined)


def may_be_constant(node: NodeProto) -> bool:
    """Whether the outputs of a node depend on its inputs only."""
    known = is_standard(node.domain) or operation(node) in RULES
    return known and node.op_type not in RANDOM and not graphs_in(node)


def within_reach(model: ModelProto, nodes: list[NodeProto], given: str) -> list[str]:
    """The names of values that may be constant, or affine in the given input, as far as the operations show it."""
    constant = {tensor.name for tensor in model.graph.initializer}
    affine = {given}
    found = []
    for node in nodes:
        read, written = set(filter(None, values_read(node))), [name for name in node.output if name]
        shape_alone = node.op_type in SHAPES and read <= constant | affine
        if may_be_constant(node) and (read <= constant or shape_alone):
            constant.update(written)
        elif may_be_constant(node) and operation(node) in (*RULES, *LINEAR, *SEQUENCES) and read <= constant | affine:
            affine.update(written)
        else:
            continue
        found += written
    return found
