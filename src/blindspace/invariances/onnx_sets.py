"""Harmless sets of the non-linear nodes of an ONNX network: the runtime gives their values, this file their meaning."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..networks.onnx.call import Call, Operand
from ..networks.onnx.network import OnnxModule, OnnxNetwork
from ..networks.onnx.nodes import needed
from ..networks.onnx.runs import laid_open
from ..networks.onnx.session import Array, require, session
from ._harmless_set import harmless_set
from .activation_sets import HarmlessSet, plateaus
from .maxima import of_maxima, pooling_windows

if TYPE_CHECKING:
    from onnx import NodeProto

Rule = Callable[[Call, Tensor, float], HarmlessSet | None]
"""From a node, the values ``(B, …)`` that it reads and the tolerance to the set; None if unknown."""

RULES: dict[str, Rule] = {}


class OnnxSets:
    """The non-linear nodes of an ONNX network whose harmless sets are known.

    Attributes:
        nodes: The nodes in their order, each with its constants.
        harmless_for_network: For each node, whether nothing else reads the values that it reads.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        model = network.alone
        to_array = require("onnx").numpy_helper.to_array
        weights: dict[str, Array] = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
        every = needed(model.graph)
        for node in every:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                weights[node.output[0]] = to_array(node.attribute[0].t)
        self.nodes = [
            _call(node, weights, tuple(model.opset_import))
            for node in every
            if node.op_type in RULES and node.input[0] not in weights
        ]
        read = [name for node in every for name in node.input] + [output.name for output in model.graph.output]
        self.harmless_for_network = [read.count(call.node.input[0]) == 1 for call in self.nodes]
        self._names = list(dict.fromkeys(call.node.input[0] for call in self.nodes))
        parts = list(network.module.children())
        self._inner = network.module if isinstance(network.module, OnnxModule) else parts[-1]
        self._before = nn.Sequential(*([] if isinstance(network.module, OnnxModule) else parts[:-1]))
        self._opened = session(laid_open(model, self._names), as_written=True) if self._names else None

    def read(self, x: Tensor, tol: float = 0.0) -> list[tuple[str, HarmlessSet]]:
        """The sets for images ``(B, *input_shape)``, each with the name of its node."""
        every = self.every(x, tol)
        return [(call.node.name or call.node.output[0], known) for call, _, known in every if known is not None]

    def every(self, x: Tensor, tol: float = 0.0) -> list[tuple[Call, Tensor, HarmlessSet | None]]:
        """The nodes with the values ``(B, …)`` that they read, and their sets; None where a set is not known."""
        if self._opened is None:
            return []
        inner = self._inner
        assert isinstance(inner, OnnxModule)
        with torch.no_grad():
            images = self._before(x).to(inner.dtype).numpy()
        if inner.batched:
            values = dict(zip(self._names, self._opened.run(self._names, {inner.given: images}), strict=True))
        else:
            runs = [self._opened.run(self._names, {inner.given: each.reshape(inner.tensor)}) for each in images]
            values = {name: _stacked([run[i] for run in runs]) for i, name in enumerate(self._names)}
        found = []
        for call in self.nodes:
            z = torch.from_numpy(np.ascontiguousarray(values[call.node.input[0]]))
            found.append(
                (call, z, RULES[call.op](call, z, tol) if z.is_floating_point() and call.op in RULES else None)
            )
        return found


def _call(node: NodeProto, weights: dict[str, Array], opsets: Any) -> Call:
    operands = tuple(Operand(name, (), constant=weights.get(name)) if name else None for name in node.input)
    return Call(node, opsets, operands, ())


def _stacked(values: list[Array]) -> Array:
    """Values of single images as a batch; an axis of one in front is the batch already."""
    return np.concatenate([value if value.shape[:1] == (1,) and value.ndim > 1 else value[None] for value in values])


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for nodes of these operations."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


MODULES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "Relu": lambda given: nn.ReLU(),
    "LeakyRelu": lambda given: nn.LeakyReLU(given.get("alpha", 0.01)),
    "ThresholdedRelu": lambda given: nn.Threshold(given.get("alpha", 1.0), 0.0),
    "Sigmoid": lambda given: nn.Sigmoid(),
    "Tanh": lambda given: nn.Tanh(),
    "Gelu": lambda given: nn.GELU(given.get("approximate", "none")),
    "Elu": lambda given: nn.ELU(given.get("alpha", 1.0)),
    "Selu": lambda given: nn.SELU(),
    "Celu": lambda given: nn.CELU(given.get("alpha", 1.0)),
    "Softplus": lambda given: nn.Softplus(),
    "Mish": lambda given: nn.Mish(),
    "HardSwish": lambda given: nn.Hardswish(),
    "InstanceNormalization": lambda given: _InstanceNorm(given.get("epsilon", 1e-5)),
}
"""The operations that a module of torch computes up to weights and biases, from their attributes."""


class _InstanceNorm(nn.Module):
    """Instance norm over any number of axes."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.group_norm(x, x.shape[1], eps=self.eps)


@rule(*MODULES)
def _module(call: Call, z: Tensor, tol: float) -> HarmlessSet:
    return harmless_set(MODULES[call.op](call.attributes), z, tol)


@rule("Softmax", "LogSoftmax")
def _softmax(call: Call, z: Tensor, tol: float) -> HarmlessSet | None:
    axis = call.attributes.get("axis", -1)
    return harmless_set(nn.Softmax(axis), z) if call.version >= 13 or axis in (-1, z.ndim - 1) else None


@rule("LayerNormalization")
def _layer_norm(call: Call, z: Tensor, tol: float) -> HarmlessSet:
    axis, eps = call.attributes.get("axis", -1) % z.ndim, call.attributes.get("epsilon", 1e-5)
    return harmless_set(nn.LayerNorm(z.shape[axis:], eps, elementwise_affine=False), z, tol)


@rule("Clip")
def _clip(call: Call, z: Tensor, tol: float) -> HarmlessSet | None:
    ends: list[Any] = [call.attributes.get("min", -torch.inf), call.attributes.get("max", torch.inf)]
    for index, operand in enumerate(call.operands[1:3]):
        if operand is not None:
            if operand.constant is None:
                return None
            ends[index] = float(operand.constant)
    return plateaus(z, "Clip", "units below the lower end or above the upper one, each up to that end", *ends)


@rule("HardSigmoid")
def _hard_sigmoid(call: Call, z: Tensor, tol: float) -> HarmlessSet | None:
    alpha, beta = call.attributes.get("alpha", 0.2), call.attributes.get("beta", 0.5)
    reason = "units below the lower end or above the upper one, each up to that end"
    return plateaus(z, "HardSigmoid", reason, -beta / alpha, (1 - beta) / alpha) if alpha > 0 else None


@rule("GlobalMaxPool")
def _global_max_pool(call: Call, z: Tensor, tol: float) -> HarmlessSet:
    n = prod(z.shape[2:])
    return of_maxima(z, "GlobalMaxPool", torch.arange(n)[None], z.reshape(-1, n)).reshaped(z)


@rule("MaxPool")
def _max_pool(call: Call, z: Tensor, tol: float) -> HarmlessSet | None:
    given, n = call.attributes, z.shape[2:]
    ones, zeros = [1] * len(n), [0] * 2 * len(n)
    kernel, stride, dilation = given["kernel_shape"], given.get("strides", ones), given.get("dilations", ones)
    pads = given.get("pads", zeros)
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    rounded = ceil if given.get("ceil_mode", 0) else floor
    sizes = zip(n, kernel, stride, dilation, pads, pads[len(n) :], strict=False)
    # A window beyond the end, which the runtime leaves out, would hold padding alone.
    out = [rounded((size + before + after - d * (k - 1) - 1) / s) + 1 for size, k, s, d, before, after in sizes]
    table = pooling_windows(n, out, kernel, stride, pads[: len(n)], dilation)
    return of_maxima(z, "MaxPool", table, z.reshape(-1, prod(n))).reshaped(z)
