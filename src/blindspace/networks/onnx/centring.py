"""ONNX operations that read their first operand only through its deviations from a mean: normalisations and softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from ...maps import Shape
from ...maps.modules import Rules
from ..affine_graph import AffineGraph, Value
from .call import Call
from .session import is_standard


def read_values(graph: AffineGraph, call: Call, inside: Iterable[Value] = ()) -> list[Value]:
    """The values that an operation reads which is not affine.

    Args:
        graph: The graph that centred values are added to.
        call: The operation.
        inside: Further values that it reads, in the graphs that it holds.
    """
    values = [None if operand is None else operand.value for operand in call.operands]
    rule = RULES.get(call.op) if is_standard(call.node.domain) else None
    first = values[0] if values else None
    # Further outputs are the mean itself and what is computed from it.
    if rule is not None and first is not None and sum(map(bool, call.node.output)) == 1 and first not in values[1:]:
        shape, axes = rule(call)
        if axes and (0 not in axes or shape[0] > 1):  # the first axis of one is the batch, whose images stay apart
            values[0] = graph.centred(first, shape, axes)
    return list(dict.fromkeys(value for value in (*values, *inside) if value is not None))


Rule = Callable[[Call], tuple[Shape, tuple[int, ...]]]
"""A shape of the values of the first operand in their order, and its axes along which the mean is subtracted."""

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule


@rule("LayerNormalization")
def _layer_normalization(call: Call) -> tuple[Shape, tuple[int, ...]]:
    shape = call.tensor(0)
    return shape, tuple(range(call.attributes.get("axis", -1) % len(shape), len(shape)))


@rule("GroupNormalization")
def _group_normalization(call: Call) -> tuple[Shape, tuple[int, ...]]:
    images, *rest = call.tensor(0)
    groups = call.attributes["num_groups"]
    return (images * groups, prod(rest) // groups), (1,)


@rule("InstanceNormalization")
def _instance_normalization(call: Call) -> tuple[Shape, tuple[int, ...]]:
    shape = call.tensor(0)
    return shape, tuple(range(2, len(shape)))


@rule("MeanVarianceNormalization")
def _mean_variance_normalization(call: Call) -> tuple[Shape, tuple[int, ...]]:
    shape = call.tensor(0)
    return shape, tuple(axis % len(shape) for axis in call.attributes.get("axes", (0, 2, 3)))


@rule("Softmax", "LogSoftmax")
def _softmax(call: Call) -> tuple[Shape, tuple[int, ...]]:
    """Along one axis; before version 13 of the standard, along all axes from that one on."""
    shape = call.tensor(0)
    axis = call.attributes.get("axis", -1 if call.version >= 13 else 1) % len(shape)
    return shape, (axis,) if call.version >= 13 else tuple(range(axis, len(shape)))
