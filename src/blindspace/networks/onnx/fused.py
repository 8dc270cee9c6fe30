"""Operations that hold several of the standard's, taken apart: those of onnxruntime's optimiser and of scikit-learn.

A file that onnxruntime has optimised keeps images in blocks of channels, so that a vector unit handles one block at a
time (NCHWc; Liu et al. 2019, "Optimizing CNN Model Inference on CPUs"). Its operations become those on plain images,
with as many channels as the blocks hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...maps.modules import Rules
from .session import Array, operation, require, run_node

if TYPE_CHECKING:
    from onnx import NodeProto, OperatorSetIdProto


@dataclass
class Parts:
    """What an operation consists of.

    Attributes:
        node: The operation.
        given: Its attributes, bytes decoded.
        nodes: The operations that do the same.
        weights: Constants that they read.
    """

    node: NodeProto
    given: dict[str, Any]
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def add(self, op: str, *read: str, written: str = "", **attributes: Any) -> str:
        """Add an operation; return the name of what it writes, which is one of its own if none is given."""
        label = self.node.name or self.node.output[0]
        name = f"{label} {op}" if self.nodes else label
        written = written or f"{self.node.output[0]} {len(self.nodes)}"
        self.nodes.append(require("onnx").helper.make_node(op, read, [written], name=name, **attributes))
        return written

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; return its name."""
        name = f"{self.node.output[0]} {name}"
        self.weights[name] = np.asarray(value)
        return name

    def end(self, read: str, op: str = "Identity", *more: str, **attributes: Any) -> Parts:
        """Add the operation that writes what the whole writes."""
        self.add(op, read, *more, written=self.node.output[0], **attributes)
        return self


Rule = Callable[[Parts, Mapping[str, Array]], "Parts | None"]
"""What takes an operation apart, given the weights of the model; None if the operation stays as it is."""

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule

MICROSOFT = "com.microsoft"
NCHWC = "com.microsoft.nchwc"

NUMBERS = {"LeakyRelu": ("alpha",), "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
"""The attributes of activations."""


def apart(node: NodeProto, weights: Mapping[str, Array]) -> Parts | None:
    """The parts of an operation; None if it has none that are known.

    Args:
        node: The operation.
        weights: The weights of the model by their names.
    """
    found = RULES.get(operation(node))
    if found is None:
        return None
    read = require("onnx").helper.get_attribute_value
    given = {each.name: read(each) for each in node.attribute}
    return found(Parts(node, {name: x.decode() if isinstance(x, bytes) else x for name, x in given.items()}), weights)


def _activated(parts: Parts, read: str) -> Parts:
    """The parts with the activation at their end."""
    given = parts.given
    op = given.get("activation", "") or "Identity"
    numbers = [given[f"activation_{name}"] for name in ("alpha", "beta") if f"activation_{name}" in given]
    numbers = numbers or list(given.get("activation_params", []))
    if op == "Clip":
        bounds = [parts.constant(f"bound {place}", np.float32(number)) for place, number in enumerate(numbers)]
        return parts.end(read, op, *bounds)
    return parts.end(read, op, **dict(zip(NUMBERS.get(op, ()), numbers, strict=False)))


def _own(parts: Parts) -> dict[str, Any]:
    """The attributes that are not of the activation."""
    return {name: value for name, value in parts.given.items() if not name.startswith("activation")}


# --- onnxruntime's own operations ----------------------------------------------------------------------------


@rule(f"{MICROSOFT}:FusedConv", f"{MICROSOFT}:FusedGemm")
def _fused(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    """A convolution or product, what is added to it, and an activation."""
    node = parts.node
    read = parts.add(node.op_type.removeprefix("Fused"), *node.input[:3], **_own(parts))
    if len(node.input) > 3:
        read = parts.add("Add", read, node.input[3])
    return _activated(parts, read)


@rule(f"{MICROSOFT}:SkipLayerNormalization", f"{MICROSOFT}:SkipSimplifiedLayerNormalization")
def _skip_layer_normalization(parts: Parts, weights: Mapping[str, Array]) -> Parts | None:
    """A sum and its normalisation; the sum may be an output too, the statistics may not."""
    node = parts.node
    simplified = "Simplified" in node.op_type
    value, skip, gamma, *rest = node.input
    beta, bias = ("", *rest, "")[:2] if simplified else (*rest, "", "")[:2]
    *statistics, total = (*node.output[1:], "", "", "")[:3]
    if any(statistics):
        return None
    read = parts.add("Add", value, skip)
    read = parts.add("Add", read, bias) if bias else read
    if total:
        parts.add("Identity", read, written=total)
    op = "SimplifiedLayerNormalization" if simplified else "LayerNormalization"
    return parts.end(read, op, gamma, *([beta] if beta else []), axis=-1, epsilon=parts.given.get("epsilon", 1e-12))


# --- blocks of channels --------------------------------------------------------------------------------------


@cache
def block() -> int:
    """Number of channels in a block on this machine; 1 if the runtime has no such operations."""
    onnx = require("onnx")
    node = onnx.helper.make_node("ReorderInput", ["x"], ["y"], domain=NCHWC)
    opsets: list[OperatorSetIdProto] = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid(NCHWC, 1)]
    try:
        return int(run_node(node, {0: np.zeros((1, 4, 1, 1), np.float32)}, {}, opsets)[0].shape[1])
    except Exception:  # the runtime's errors have no common base class
        return 1


@rule(f"{NCHWC}:ReorderInput")
def _reorder_input(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    """Channels of zeros are added until the last block is full."""
    read = parts.node.input[0]
    if parts.given.get("channels_last"):
        read = parts.add("Transpose", read, perm=[0, 3, 1, 2])
    sizes = parts.add("Shape", read)
    channels = parts.add("Gather", sizes, parts.constant("axis", np.array([1])))
    missing = parts.add("Mod", parts.add("Neg", channels), parts.constant("block", np.array([block()])))
    before = parts.constant("before", np.zeros(5, np.int64))
    amounts = parts.add("Concat", before, missing, parts.constant("after", np.zeros(2, np.int64)), axis=0)
    return parts.end(read, "Pad", amounts)


@rule(f"{NCHWC}:ReorderOutput")
def _reorder_output(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    """The channels that are no filling."""
    bounds = {"from": 0, "to": parts.given["channels"], "axis": 1}
    names = [parts.constant(word, np.array([number])) for word, number in bounds.items()]
    if not parts.given.get("channels_last"):
        return parts.end(parts.node.input[0], "Slice", *names)
    return parts.end(parts.add("Slice", parts.node.input[0], *names), "Transpose", perm=[0, 2, 3, 1])


@rule(f"{NCHWC}:Conv")
def _blocked_convolution(parts: Parts, weights: Mapping[str, Array]) -> Parts | None:
    """A convolution whose kernels lie in blocks of output channels, and of input channels if these fill one."""
    node, size = parts.node, block()
    kernels = weights.get(node.input[1])
    if kernels is None or kernels.ndim != 4 or len(kernels) % size:
        return None
    written, read, *kernel = kernels.shape
    if read % size:
        plain = kernels.reshape(written // size, read, *kernel, size).transpose(0, 4, 1, 2, 3)
    else:
        blocks = kernels.reshape(written // size, read // size, *kernel, size, size)
        plain = blocks.transpose(0, 5, 1, 4, 2, 3)
    name = parts.constant("kernels", np.ascontiguousarray(plain).reshape(kernels.shape))
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else ""
    found = parts.add("Conv", node.input[0], name, *([bias] if bias else []), **_own(parts))
    if len(node.input) > 3:
        found = parts.add("Add", found, node.input[3])
    return _activated(parts, found)


@rule(*(f"{NCHWC}:{name}" for name in ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")))
def _blocked_pooling(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    return parts.end(parts.node.input[0], parts.node.op_type, **parts.given)


@rule(f"{NCHWC}:Upsample")
def _blocked_upsampling(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    given = parts.given
    options = {"mode": given.get("mode", "nearest"), "nearest_mode": "floor"}
    options["coordinate_transformation_mode"] = given.get("coordinate_transformation_mode", "asymmetric")
    scales = parts.constant("scales", np.array(given["scales"], np.float32))
    return parts.end(parts.node.input[0], "Resize", "", scales, **options)


# --- scikit-learn --------------------------------------------------------------------------------------------


@rule("ai.onnx.ml:Scaler")
def _scaler(parts: Parts, weights: Mapping[str, Array]) -> Parts:
    shift = parts.constant("offset", np.array(parts.given.get("offset", [0.0]), np.float32))
    scale = parts.constant("scale", np.array(parts.given.get("scale", [1.0]), np.float32))
    return parts.end(parts.add("Sub", parts.node.input[0], shift), "Mul", scale)


@rule("ai.onnx.ml:LinearClassifier", "ai.onnx.ml:LinearRegressor")
def _linear_model(parts: Parts, weights: Mapping[str, Array]) -> Parts | None:
    """A product with the coefficients, and the same operation on the scores."""
    given, node = parts.given, parts.node
    labels = given.get("classlabels_ints") or given.get("classlabels_strings") or []
    count = len(given.get("intercepts", [])) or given.get("targets", 1 if not labels else len(labels))
    coefficients = np.array(given["coefficients"], np.float32).reshape(count, -1)
    if coefficients.shape[1] == count and np.array_equal(coefficients, np.eye(count)):
        return None  # that is what is left
    matrix = parts.constant("coefficients", coefficients)
    shift = parts.constant("intercepts", np.array(given.get("intercepts") or [0.0] * count, np.float32))
    scores = parts.add("Gemm", node.input[0], matrix, shift, transB=1)
    given = {**given, "coefficients": np.eye(count).ravel().tolist(), "intercepts": [0.0] * count}
    make = require("onnx").helper.make_node
    name = f"{parts.nodes[0].name} of scores"
    parts.nodes.append(make(node.op_type, [scores], node.output, name=name, domain=node.domain, **given))
    return parts
