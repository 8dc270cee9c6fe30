"""One operation of an ONNX graph with its operands, and the registry of rules for operations that are linear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ShapeError, ValueRangeError
from ...maps import LinearMap, Shape, operations
from ...maps.modules import Rules
from ..affine_graph import Value, value_shape
from .session import Array, is_standard, operation, require

if TYPE_CHECKING:
    from onnx import NodeProto, OperatorSetIdProto


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor that an operation reads.

    Attributes:
        name: Name in the graph.
        shape: Shape of the tensor, the batch included.
        constant: The values of the tensor if they are the same for every input of the network.
        value: Its value in the affine graph otherwise.
    """

    name: str
    shape: Shape
    constant: Array | None = None
    value: Value | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """A node of an ONNX graph.

    Attributes:
        node: The node as the file has it.
        opsets: The operator sets of the model.
        operands: The tensors that the node reads; None for inputs that it leaves out.
        outputs: Shapes of the tensors that the node writes, the batch included.
    """

    node: NodeProto
    opsets: tuple[OperatorSetIdProto, ...]
    operands: tuple[Operand | None, ...]
    outputs: tuple[Shape, ...]

    @property
    def op(self) -> str:
        """Name of the operation, with its domain before a colon unless it belongs to the standard."""
        return operation(self.node)

    @property
    def version(self) -> int:
        """Version of the standard's operator set."""
        return next((opset.version for opset in self.opsets if is_standard(opset.domain)), 1)

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name, bytes decoded."""
        read = require("onnx").helper.get_attribute_value
        found = {attribute.name: read(attribute) for attribute in self.node.attribute}
        return {name: x.decode() if isinstance(x, bytes) else x for name, x in found.items()}

    @cached_property
    def varying(self) -> list[int]:
        """Indices of the operands that are not constant."""
        return [i for i, operand in enumerate(self.operands) if operand is not None and operand.constant is None]

    @cached_property
    def constants(self) -> dict[int, Array]:
        """The constant operands by index."""
        return {i: x.constant for i, x in enumerate(self.operands) if x is not None and x.constant is not None}

    def constant(self, index: int) -> Array | None:
        """A constant operand; None if that operand varies or is left out."""
        return self.constants.get(index)

    def tensor(self, index: int) -> Shape:
        """Shape of an operand that is given, the batch included."""
        operand = self.operands[index]
        assert operand is not None
        return operand.shape

    def weight(self, index: int) -> Tensor:
        """A constant operand of numbers, float64.

        Raises:
            ShapeError: That operand is not constant.
            ValueRangeError: It holds NaN or infinite values.
        """
        constant = self.constant(index)
        if constant is None:
            raise ShapeError(f"{self.op} {self.node.name} has no constant input {index}")
        weight = torch.from_numpy(np.array(constant, dtype=np.float64))
        if not bool(weight.isfinite().all()):
            raise ValueRangeError(f"{self.op} {self.node.name} has a weight that is NaN or infinite")
        return weight

    def axes(self, index: int) -> list[int] | None:
        """Axes, from 0, by an operand or, in earlier versions, the attribute ``axes``; None if they are not given."""
        constant = self.constant(index)
        named = self.attributes.get("axes") if constant is None else constant.reshape(-1).tolist()
        return None if named is None else [int(axis) % len(self.tensor(0)) for axis in named]

    def shape(self, index: int) -> Shape:
        """Shape of the value in an operand."""
        return value_shape(self.tensor(index))

    def out_shape(self, index: int = 0) -> Shape:
        """Shape of the value in an output."""
        return value_shape(self.outputs[index])


Terms = list[tuple[int, LinearMap]]
"""An output as a sum, a constant aside: indices of operands, each with the map that it goes through."""

Rule = Callable[[Call], list[Terms] | None]
"""The terms whose sum each output is; None if the operation is not known to be affine."""

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule

LinearRule = Callable[[Call], LinearMap | None]


def linear(*ops: str, reads: Sequence[int] = (0,)) -> Callable[[LinearRule], LinearRule]:
    """Decorator: the function gives the map of these operations if one operand varies, of one of these indices."""

    def add(function: LinearRule) -> LinearRule:
        def served(call: Call) -> list[Terms] | None:
            if len(call.varying) != 1 or call.varying[0] not in reads:
                return None
            index = call.varying[0]
            operator = function(call)
            if operator is None:
                return None
            return [[(index, operations.reshaped(operator, call.shape(index), call.out_shape()))]]

        rule(*ops)(served)
        return function

    return add
