"""An ONNX network in float64 and in torch, so that it can be differentiated.

A node that is linear in what varies is the map that its rule gives, plus what the runtime computes at zero; any other
is a function of torch. Every value has the batch before the shape that it has for a batch of one. The outputs are
compared with those of the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BlindspaceError, UnsupportedLayerError
from ...maps import LinearMap, Shape
from ..affine_graph import Value, value_shape
from ..marks import enters, leaves
from .call import RULES, Call, Operand
from .nodes import SHAPES, needed
from .operations import LAYERS
from .recorder import followed
from .runs import Runs
from .session import Array, run_node

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

AGREES = 1e-3
"""Largest difference between these outputs and the runtime's, relative to the largest output."""

Function = Callable[..., Tensor]
"""From the operands of a node, each with the batch first, to its first output."""


class InTorch(nn.Module):
    """The nodes of an ONNX graph in torch: ``(B, *input_shape)`` to ``(B, …)``, float64.

    Args:
        model: A model of one input, with all its weights inside.
        input_shape: Shape of one input, without the batch.

    Raises:
        UnsupportedLayerError: A node is of a kind that is not known here, or writes something else than the runtime.
    """

    def __init__(self, model: ModelProto, input_shape: Shape) -> None:
        super().__init__()
        recorder = followed(model, input_shape, None)
        self._runs: Runs = recorder.runs
        self._given, self._shape = recorder.given, recorder.runs.shape(recorder.given)
        self._constants: dict[str, Array] = {
            name: each.constant for name, each in recorder.tensors.items() if each.constant is not None
        }
        self._steps: list[tuple[str, list[str | Tensor | None], Function]] = []
        self._outputs = recorder.outputs
        for node in needed(recorder.model.graph):
            self._add(node, recorder.opsets)
        missing = [name for name in self._outputs if name in self._constants]
        if missing:
            raise UnsupportedLayerError(f"the output {missing[0]} does not depend on the input")

    def forward(self, x: Tensor) -> Tensor:
        """The only output, ``(B, …)``, or all outputs flattened and side by side, ``(B, total)``."""
        values = {self._given: x.reshape(len(x), *self._shape)}
        for name, read, function in self._steps:
            values[name] = function(*(values[each] if isinstance(each, str) else each for each in read))
        outputs = [values[name] for name in self._outputs]
        if len(outputs) == 1:
            return outputs[0].reshape(len(x), *value_shape(tuple(outputs[0].shape[1:])))
        return torch.cat([output.flatten(1) for output in outputs], 1)

    def _add(self, node: NodeProto, opsets: Sequence[object]) -> None:
        """One node: constants are computed at once, anything else becomes a step."""
        names = [name for name in node.output if name]
        if all(name in self._constants for name in names):
            return
        varying = [i for i, name in enumerate(node.input) if name and name not in self._constants]
        if node.op_type in SHAPES and varying:
            shape = np.array(self._runs.shape(node.input[0]), dtype=np.int64)
            self._constants[names[0]] = shape if node.op_type == "Shape" else np.array(shape.prod())
            return
        constants = {i: self._constants[name] for i, name in enumerate(node.input) if name and i not in varying}
        if not varying:
            written = run_node(node, {}, constants, opsets)  # type: ignore[arg-type]
            self._constants.update(zip(names, written, strict=True))
            return
        operands = tuple(self._operand(name) if name else None for name in node.input)
        call = Call(node, opsets, operands, tuple(self._runs.shape(name) for name in node.output))  # type: ignore[arg-type]
        steps = self._linear(call, constants) or [_other(call)]
        if len(names) > len(steps):
            raise UnsupportedLayerError(f"{call.op} {node.name or names[0]} writes several values")
        read = [
            None if not name else name if i in varying else torch.from_numpy(np.array(self._constants[name]))
            for i, name in enumerate(node.input)
        ]
        for name, function in zip(names, steps, strict=False):
            self._steps.append((name, list(read), function))

    def _operand(self, name: str) -> Operand:
        shape = self._runs.shape(name)
        if name in self._constants:
            return Operand(name, tuple(self._constants[name].shape), constant=self._constants[name])
        return Operand(name, shape, value=Value(name, value_shape(shape)))

    def _linear(self, call: Call, constants: dict[int, Array]) -> list[Function] | None:
        """The functions of a node that is linear in what varies, one per output; None if none of its rules says so."""
        rule = RULES.get(call.op)
        try:
            found = None if rule is None else rule(call)
        except (BlindspaceError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return None  # an option that the rule does not support
        if found is None:
            return None
        zeros = {i: np.zeros(call.tensor(i), dtype=self._dtype(call)) for i in call.varying}
        offsets = run_node(call.node, zeros, constants, call.opsets)
        marked = call.node.op_type in LAYERS and len(call.varying) == 1 and call.varying[0] < 2
        name = (call.node.name or call.node.output[0]) if marked else ""
        return [
            _sum(terms, torch.from_numpy(np.array(offset, dtype=np.float64)), out, name)
            for terms, offset, out in zip(found, offsets, call.outputs, strict=False)
        ]

    def _dtype(self, call: Call) -> np.dtype[np.generic]:
        kinds = [array.dtype for array in call.constants.values() if array.dtype.kind == "f"]
        given = self._runs.first[self._given].dtype
        return kinds[0] if kinds else given


def _sum(terms: Sequence[tuple[int, LinearMap]], offset: Tensor, shape: Shape, layer: str) -> Function:
    shifts = bool(offset.any())

    def function(*operands: Tensor) -> Tensor:
        total = offset if shifts else None
        for index, operator in terms:
            x = operands[index]
            x = enters(x, layer) if layer else x
            y = operator.forward(x.reshape(len(x), *operator.in_shape)).reshape(len(x), *shape)
            total = y if total is None else y + total
        assert total is not None
        return leaves(total, layer) if layer else total

    return function


def _other(call: Call) -> Function:
    """The function of a node that is not linear."""
    make = OTHERS.get(call.op)
    if make is None:
        name = call.node.name or call.node.output[0]
        raise UnsupportedLayerError(f"{call.op} {name} has no derivative here; give the network in PyTorch")
    return make(call)


def _axis(call: Call, default: int) -> int:
    """An axis of what the node reads, counted behind the batch."""
    rank = len(call.tensor(0))
    return 1 + int(call.attributes.get("axis", default)) % rank


def _aligned(function: Callable[[Tensor, Tensor], Tensor], call: Call) -> Function:
    """A function of two tensors, or of a tensor and a constant, that broadcasts their last axes."""
    ranks = [len(call.tensor(i)) for i in range(2)]

    def apply(*operands: Tensor) -> Tensor:
        parts = []
        for i, x in enumerate(operands[:2]):
            if i in call.varying:
                x = x.reshape(len(x), *[1] * (max(ranks) - ranks[i]), *x.shape[1:])
            parts.append(x.double())
        return function(*parts)

    return apply


def _alone(function: Callable[[Tensor], Tensor]) -> Callable[[Call], Function]:
    return lambda call: lambda x, *_: function(x)


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call], Function]:
    return lambda call: _aligned(function, call)


def _with(function: Callable[..., Tensor], **options: float) -> Callable[[Call], Function]:
    """A function of a tensor with attributes of the node, by torch's names."""

    def make(call: Call) -> Function:
        given = {name: float(call.attributes.get(name, default)) for name, default in options.items()}
        return lambda x, *_: function(x, **given)

    return make


def _softmax(call: Call) -> Function:
    axis = _axis(call, -1 if call.version >= 13 else 1)
    if call.version >= 13:
        return lambda x: x.softmax(axis)
    return lambda x: x.flatten(axis).softmax(-1).reshape(x.shape)


def _clip(call: Call) -> Function:
    low, high = (call.constant(i) for i in (1, 2))
    least = call.attributes.get("min") if low is None else float(low)
    most = call.attributes.get("max") if high is None else float(high)
    if least is None and most is None:
        return lambda x, *_: x
    return lambda x, *_: x.clamp(least, most)


def _max_pool(call: Call) -> Function:
    options = call.attributes
    kernel = list(options["kernel_shape"])
    n = len(kernel)
    pads = list(options.get("pads", [0] * 2 * n))
    if n != 2 or options.get("auto_pad", "NOTSET") != "NOTSET" or pads[:n] != pads[n:] or len(call.outputs) != 1:
        raise UnsupportedLayerError(
            f"MaxPool {call.node.name or call.node.output[0]} has options that are not known here"
        )
    stride, dilation = list(options.get("strides", [1] * n)), list(options.get("dilations", [1] * n))
    ceil = bool(options.get("ceil_mode", 0))

    def function(x: Tensor) -> Tensor:
        y = F.max_pool2d(x.flatten(0, 1), kernel, stride, pads[:n], dilation, ceil)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    return function


def _layer_norm(call: Call) -> Function:
    axis, eps = _axis(call, -1), float(call.attributes.get("epsilon", 1e-5))
    if len(call.outputs) != 1:
        raise UnsupportedLayerError("LayerNormalization writes its statistics")

    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = F.layer_norm(x, x.shape[axis:], eps=eps) * weight.double()
        return y if bias is None else y + bias.double()

    return function


OTHERS: dict[str, Callable[[Call], Function]] = {
    "Relu": _alone(torch.relu), "Sigmoid": _alone(torch.sigmoid), "Tanh": _alone(torch.tanh), "Erf": _alone(torch.erf),
    "Exp": _alone(torch.exp), "Log": _alone(torch.log), "Sqrt": _alone(torch.sqrt), "Abs": _alone(torch.abs),
    "Reciprocal": _alone(torch.reciprocal), "Softplus": _alone(F.softplus), "HardSwish": _alone(F.hardswish),
    "Sin": _alone(torch.sin), "Cos": _alone(torch.cos), "Mish": _alone(F.mish), "Softsign": _alone(F.softsign),
    "Mul": _two(torch.mul), "Div": _two(torch.div), "Pow": _two(torch.pow), "MatMul": _two(torch.matmul),
    "Max": _two(torch.maximum), "Min": _two(torch.minimum),
    "LeakyRelu": _with(lambda x, alpha: F.leaky_relu(x, alpha), alpha=0.01),
    "Elu": _with(lambda x, alpha: F.elu(x, alpha), alpha=1.0),
    "HardSigmoid": _with(lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1), alpha=0.2, beta=0.5),
    "Gelu": lambda call: lambda x: F.gelu(x, approximate=call.attributes.get("approximate", "none")),
    "Softmax": _softmax, "Clip": _clip, "MaxPool": _max_pool, "LayerNormalization": _layer_norm,
}  # fmt: skip
"""The operations that are not linear, by name: from a node to its function."""
