"""ONNX graphs written node by node: constants, operations on batches, and loops of a fixed number of rounds.

Only operations whose meaning is the same in operator sets 7 and later are used, so that a graph can be put in front of
an older model in that model's own operator set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..maps import Convolution, LinearMap, Shape
from ..networks.onnx.session import require

OPSET = 17
"""Operator set of graphs that stand alone."""

OLDEST = 7
"""The oldest operator set in which the graphs can be written."""


class Graph:
    """Nodes and weights in the order in which they are added; a value is known by its name.

    Args:
        prefix: Text in front of every name, by which they differ from those of other graphs.
        inside: The graph in whose loop this one stands; its values and weights can be read here.
    """

    def __init__(self, prefix: str = "clean/", inside: Graph | None = None) -> None:
        self.prefix, self.inside = prefix, inside
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {} if inside is None else inside.weights
        self._names: dict[str, int] = {} if inside is None else inside._names

    def name(self, kind: str) -> str:
        """A name that no other value has."""
        self._names[kind] = self._names.get(kind, 0) + 1
        return f"{self.prefix}{kind}_{self._names[kind]}"

    def constant(self, values: Tensor | np.ndarray | Sequence[int] | float, kind: str = "weight") -> str:
        """A weight: floating-point numbers in float32, integers in int64."""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = self.name(kind)
        self.weights[name] = require("onnx").numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def add(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of one output, whose name is returned."""
        output = output or self.name(operation.lower())
        self.nodes.append(require("onnx").helper.make_node(operation, list(inputs), [output], **attributes))
        return output

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """A batch in another shape, ``(B, *shape)``."""
        return self.add("Reshape", x, self.constant([-1, *shape], "shape"))

    def product(self, x: str, matrix: Tensor) -> str:
        """The product of the last axis with a matrix ``(n, m)`` from the right."""
        return self.add("MatMul", x, self.constant(matrix))

    def along(self, x: str, matrix: Tensor, axis: int, shape: Shape) -> str:
        """A matrix ``(m, n)`` applied along an axis of values of a shape, without the batch axis."""
        last = len(shape) - 1
        if axis == last:
            return self.product(x, matrix.T)
        if axis == last - 1:
            return self.add("MatMul", self.constant(matrix), x)
        order = list(range(len(shape) + 1))
        order[axis + 1], order[-1] = order[-1], order[axis + 1]
        moved = self.add("Transpose", x, perm=order)
        return self.add("Transpose", self.product(moved, matrix.T), perm=order)

    def taken(self, x: str, shape: Shape, read: Tensor, to: Shape) -> str:
        """The values at given positions of ``(B, *shape)``, or 0 where a position is −1, in the shape ``(B, *to)``."""
        flat = self.reshape(x, [prod(shape)])
        if bool((read < 0).any()):
            first = self.add("Gather", flat, self.constant([0], "position"), axis=1)
            flat = self.add("Concat", flat, self.add("Sub", first, first), axis=1)
            read = torch.where(read < 0, prod(shape), read)
        return self.reshape(self.add("Gather", flat, self.constant(read.flatten(), "positions"), axis=1), to)

    def dot(self, a: str, b: str, size: int) -> str:
        """The inner products of two batches of flat vectors of a size, ``(B, 1)``."""
        ones = torch.ones(size, 1)
        return self.product(self.add("Mul", a, b), ones)

    def loop(self, rounds: int, state: Sequence[str], body: Callable[[Graph, list[str]], list[str]]) -> list[str]:
        """The states after a number of rounds, each of which maps them to the next ones of the same types."""
        helper, onnx = require("onnx").helper, require("onnx")
        inner = Graph(self.prefix, self)
        names = [inner.name("state") for _ in state]
        count, going = inner.name("round"), inner.name("going")
        after = inner.add("Identity", going)
        ends = [inner.add("Identity", value) for value in body(inner, names)]
        kind = onnx.TensorProto
        inputs = [
            helper.make_tensor_value_info(count, kind.INT64, []),
            helper.make_tensor_value_info(going, kind.BOOL, []),
        ]
        inputs += [helper.make_tensor_value_info(name, kind.FLOAT, None) for name in names]
        outputs = [helper.make_tensor_value_info(after, kind.BOOL, [])]
        outputs += [helper.make_tensor_value_info(name, kind.FLOAT, None) for name in ends]
        graph = helper.make_graph(inner.nodes, self.name("body"), inputs, outputs)
        found = [self.name("end") for _ in state]
        trips = self.name("rounds")
        self.weights[trips] = onnx.numpy_helper.from_array(np.array(rounds, dtype=np.int64), trips)
        self.nodes.append(helper.make_node("Loop", [trips, "", *state], found, body=graph))
        return found


def convolved(graph: Graph, x: str, conv: Convolution) -> str:
    """A convolution with zeros outside the image; see ``can_convolve``."""
    return graph.add("Conv", x, graph.constant(conv.weight), **_geometry(conv))


def convolved_back(graph: Graph, y: str, conv: Convolution) -> str:
    """The adjoint of a convolution with zeros outside the image."""
    weight = graph.constant(conv.weight)
    return graph.add("ConvTranspose", y, weight, output_padding=list(conv._unread), **_geometry(conv))


def can_convolve(operator: LinearMap) -> bool:
    """Whether ONNX has a map and its adjoint as one node each: a convolution that pads with zeros and crops nothing."""
    return (
        isinstance(operator, Convolution)
        and all(n >= 0 for pair in operator.padding for n in pair)
        and (operator.mode == "zeros" or not any(n for pair in operator.padding for n in pair))
        and all(n < s for n, s in zip(operator._unread, operator.stride, strict=True))
    )


def _geometry(conv: Convolution) -> dict[str, Any]:
    return {
        "kernel_shape": list(conv.kernel),
        "strides": list(conv.stride),
        "dilations": list(conv.dilation),
        "group": conv.groups,
        "pads": [pair[0] for pair in conv.padding] + [pair[1] for pair in conv.padding],
    }
