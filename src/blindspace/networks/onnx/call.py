"""One operation of an ONNX graph with what it reads, and the rules that tell which operations are linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ShapeError, ValueRangeError
from ...maps import LinearMap, Rearrange, Shape, compose
from ..affine_graph import Value
from .session import Array, is_standard, require

if TYPE_CHECKING:
    from onnx import NodeProto, OperatorSetIdProto


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor that an operation reads.

    Attributes:
        name: in the graph.
        shape: of the tensor, the batch included.
        constant: its values where they are the same for every input of the network.
        value: what it is in the affine graph otherwise.
    """

    name: str
    shape: Shape
    constant: Array | None = None
    value: Value | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """A node of an ONNX graph.

    Attributes:
        node: as it stands in the file.
        opsets: of the model.
        operands: what it reads; None for what it leaves out.
        outputs: shapes of the tensors it writes, the batch included.
    """

    node: NodeProto
    opsets: tuple[OperatorSetIdProto, ...]
    operands: tuple[Operand | None, ...]
    outputs: tuple[Shape, ...]

    @property
    def op(self) -> str:
        """The operation's name."""
        return self.node.op_type

    @property
    def version(self) -> int:
        """Of the standard's operations."""
        return next((opset.version for opset in self.opsets if is_standard(opset.domain)), 1)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """By name, strings as such."""
        read = require("onnx").helper.get_attribute_value
        found = {attribute.name: read(attribute) for attribute in self.node.attribute}
        return {name: x.decode() if isinstance(x, bytes) else x for name, x in found.items()}

    @cached_property
    def varying(self) -> list[int]:
        """Numbers of the operands that are not constant."""
        return [i for i, operand in enumerate(self.operands) if operand is not None and operand.constant is None]

    def given(self, index: int) -> bool:
        """Whether there is an operand of that number."""
        return index < len(self.operands) and self.operands[index] is not None

    def tensor(self, index: int) -> Shape:
        """Shape of an operand that is there, the batch included."""
        operand = self.operands[index]
        assert operand is not None
        return operand.shape

    def constant(self, index: int) -> Array | None:
        """A constant operand; None where there is none of that number."""
        operand = self.operands[index] if self.given(index) else None
        return None if operand is None else operand.constant

    def weight(self, index: int) -> Tensor:
        """A constant operand of numbers, float64.

        Raises:
            ShapeError: there is none.
            ValueRangeError: it holds NaN or infinite values.
        """
        constant = self.constant(index)
        if constant is None:
            raise ShapeError(f"{self.op} {self.node.name} has no constant input {index}")
        weight = torch.from_numpy(np.array(constant, dtype=np.float64))
        if not bool(weight.isfinite().all()):
            raise ValueRangeError(f"{self.op} {self.node.name} has a weight that is NaN or infinite")
        return weight

    def axes(self, index: int, attribute: str = "axes") -> list[int] | None:
        """Axes by an attribute, or by an operand in later versions; none below 0; None where they are not said."""
        constant = self.constant(index)
        named = self.attributes.get(attribute) if constant is None else constant.reshape(-1).tolist()
        return None if named is None else [int(axis) % len(self.tensor(0)) for axis in named]

    def shape(self, index: int) -> Shape:
        """Shape of the value in an operand."""
        return value_shape(self.tensor(index))

    def out_shape(self, index: int = 0) -> Shape:
        """Shape of the value it writes."""
        return value_shape(self.outputs[index])


def value_shape(tensor: Shape) -> Shape:
    """Shape of the value in a tensor of that shape: without a first axis of one, which the batch is."""
    return (tensor[1:] if tensor[:1] == (1,) else tensor) or (1,)


Terms = list[tuple[int, LinearMap]]
"""An output as a sum, a constant aside: numbers of operands, and the maps from them."""

Rule = Callable[[Call], list[Terms] | None]
"""What each output is the sum of; None where the operation is not known to be affine."""

RULES: dict[str, Rule] = {}
"""By the name of the operation."""


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Decorator: the function serves these operations."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return add


LinearRule = Callable[[Call], LinearMap | None]


def linear(*ops: str, reads: tuple[int, ...] = (0,)) -> Callable[[LinearRule], LinearRule]:
    """Decorator: the function gives the map of these operations where one operand varies, of one of these numbers."""

    def add(function: LinearRule) -> LinearRule:
        def served(call: Call) -> list[Terms] | None:
            if len(call.varying) != 1 or call.varying[0] not in reads:
                return None
            index = call.varying[0]
            operator = function(call)
            return None if operator is None else [[(index, fitted(operator, call.shape(index), call.out_shape()))]]

        rule(*ops)(served)
        return function

    return add


def fitted(operator: LinearMap, in_shape: Shape, out_shape: Shape) -> LinearMap:
    """The map with its values in other shapes.

    Raises:
        ShapeError: they have another number of values.
    """
    return compose(Rearrange(in_shape, operator.in_shape), operator, Rearrange(operator.out_shape, out_shape))


def count(shape: Shape) -> int:
    """How many values a shape has."""
    return prod(shape)
