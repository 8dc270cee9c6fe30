"""An ONNX network followed from its input: its affine graph and its linear layers, read from the graph of the file.

The runtime runs the whole network twice. So all shapes are those of the runtime, constants are already computed, and
every map on the way to the front is checked against what its node did between the two runs: a map that disagrees is
not used, and the front ends there.

Quantised networks: weights that are stored as integers and de-quantised in the graph are constants like any other. A
QuantizeLinear of a value that depends on the input rounds it: a change outside the nullspace may vanish, and a change
inside may be rounded differently, so the front ends there. Only on request it is read as the division that it is up to
rounding; the output of such a network then moves by its own rounding. A QuantizeLinear that clips, as it does where a
ReLU is fused into it, always ends the front.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import BlindspaceError, BlindspaceWarning
from ...maps import LinearMap, Shape
from ...maps.properties import is_identity
from ..affine_graph import AffineGraph, Layer, Recording, Value, value_shape
from .call import RULES, Call, Operand, Terms
from .nodes import SHAPES, captured, may_be_constant, needed
from .operations import KEEPING, LAYERS
from .runs import full_shape, network_input, run_twice
from .session import is_standard, require

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def record_onnx(
    model: ModelProto, input_shape: Shape, float_meaning: bool = False, before: LinearMap | None = None
) -> Recording:
    """Follow an ONNX network from its input.

    Operations of other domains, control flow, and operations without a rule end the front; the harmless space can
    therefore be reported too small, never too large.

    Args:
        model: A checked model of one input, with all its weights inside.
        input_shape: Shape of one input, without the batch.
        float_meaning: Whether QuantizeLinear is read as the division that it is up to rounding, provided that it clips
            nothing of two random inputs in [0, 1].
        before: Map of the preprocessing, from the user's images to the input of the file; the identity if None.

    Raises:
        UnsupportedLayerError: The runtime cannot run the network on such an input; the message gives the reason.
        ShapeError: ``before`` writes another shape.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    if model.functions:
        model = require("onnx.inliner").inline_local_functions(model)
    recorder = _Recorder(model, input_shape, float_meaning, before)
    for node in recorder.nodes:
        recorder.follow(node)
    for output in model.graph.output:
        operand = recorder.tensors.get(output.name)
        if operand is not None and operand.value is not None:
            recorder.graph.reads(operand.value, "output")
    return Recording(recorder.graph, tuple(recorder.layers()))


@dataclass(frozen=True)
class _Found:
    """A linear layer: its node, the name of what it reads, and its map."""

    node: NodeProto
    read: str
    operator: LinearMap


class _Recorder:
    """Goes through the nodes of a model, its local functions inlined, in their order. Arguments as ``record_onnx``."""

    def __init__(self, model: ModelProto, input_shape: Shape, float_meaning: bool, before: LinearMap | None) -> None:
        onnx = require("onnx")
        graph = model.graph
        self.float_meaning = float_meaning
        self.opsets = tuple(model.opset_import)
        weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        given = network_input(model)
        tensor = full_shape(given, input_shape)
        self.nodes = needed(graph)
        self.runs = run_twice(model, self.nodes, given, tensor)
        read = Value(given.name, value_shape(tensor))
        self.graph = AffineGraph(read if before is None else Value("input", before.in_shape))
        if before is not None:
            read = self.graph.affine(given.name, read.shape, [(self.graph.input, before)])
        self.tensors: dict[str, Operand] = {
            name: Operand(name, array.shape, constant=array) for name, array in weights.items()
        }
        self.tensors[given.name] = Operand(given.name, tensor, value=read)
        self.outputs = [output.name for output in graph.output]
        self._found: list[_Found] = []
        self._readers: Counter[str] = Counter()
        self._kept: dict[str, str] = {}

    def follow(self, node: NodeProto) -> None:
        """Record what one node writes."""
        operands = tuple(self._operand(name) if name else None for name in node.input)
        inside = [self._operand(name) for name in captured(node)]
        read = [operand for operand in (*operands, *inside) if operand is not None]
        if self._is_constant(node, read):
            for name in filter(None, node.output):
                self.tensors[name] = Operand(name, self.runs.shape(name), constant=self.runs.first[name])
            return
        if node.op_type not in SHAPES:
            self._count(node, read)
        written = [name for name in node.output if name]
        call = Call(node, self.opsets, operands, tuple(self.runs.shape(name) for name in node.output))
        values = [operand.value for operand in read if operand.value is not None]
        affine = bool(values) and all(value.affine for value in values)
        asked = is_standard(node.domain) and not inside and (affine or node.op_type in LAYERS)
        found = self._terms(call) if asked else None
        if found is not None and node.op_type in LAYERS and len(call.varying) == 1:
            ((index, operator),) = found[0]
            if index < 2:  # not the bias
                self._found.append(_Found(node, node.input[index], operator))
        if found is not None and affine and len(found) == len(written):
            for name, terms in zip(written, found, strict=True):
                self._keep(name, self._affine(node, operands, terms))
            return
        label = f"{node.op_type} {node.name or node.output[0]}"
        for value in dict.fromkeys(values):
            self.graph.reads(value, label)
        for name in written:
            self._keep(name, self.graph.other(node.name or name, value_shape(self.runs.shape(name)), ()))

    def layers(self) -> Iterator[Layer]:
        """The linear layers, in the order of their nodes."""
        for found in self._found:
            read = self._root(found.read)
            alone = self._readers[read] + sum(self._root(name) == read for name in self.outputs) == 1
            yield Layer(found.node.name or found.node.output[0], found.node.op_type, found.operator, alone)

    def _operand(self, name: str) -> Operand:
        """The tensor of that name; an unknown value if it is not a dense tensor of this graph."""
        if name not in self.tensors:
            shape = self.runs.shape(name)
            self._keep(name, self.graph.other(name, value_shape(shape), ()))
        return self.tensors[name]

    def _keep(self, name: str, value: Value) -> None:
        self.tensors[name] = Operand(name, self.runs.shape(name), value=value)

    def _is_constant(self, node: NodeProto, read: list[Operand]) -> bool:
        """Whether the outputs of a node are the same for every input of the network."""
        known = all(operand.constant is not None for operand in read)
        if node.op_type in SHAPES:
            # The shapes of affine values are fixed; other shapes may depend on the input.
            known = known or all(operand.value is not None and operand.value.affine for operand in read)
        return known and may_be_constant(node) and all(self.runs.steady(name) for name in node.output if name)

    def _terms(self, call: Call) -> list[Terms] | None:
        """The terms whose sums the outputs of a node are; None if the maps disagree with what the node did."""
        rounds = call.op == "QuantizeLinear"
        rule = RULES.get(call.op) if self.float_meaning or not rounds else None
        try:
            found = rule(call) if rule is not None else None
            if found is None:
                return None
            agree = all(
                operator.out_shape == call.out_shape(output)
                for output, terms in enumerate(found)
                for _, operator in terms
            ) and all(self.runs.agree(call, output, terms) for output, terms in enumerate(found))
        except (BlindspaceError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return None  # an option that the rule does not support
        if not agree and not rounds:
            warnings.warn(
                f"{call.op} {call.node.name or call.node.output[0]} deviates from the standard and is treated as not "
                "affine",
                BlindspaceWarning,
                stacklevel=2,
            )
        return found if agree else None

    def _affine(self, node: NodeProto, operands: tuple[Operand | None, ...], terms: Terms) -> Value:
        """The value that a node writes; the value that it reads if the map is the identity."""
        reads = []
        for index, operator in terms:
            operand = operands[index]
            assert operand is not None
            assert operand.value is not None
            reads.append((operand.value, operator))
        if len(reads) == 1 and is_identity(reads[0][1]):
            return reads[0][0]
        return self.graph.affine(node.name or node.output[0], reads[0][1].out_shape, reads)

    def _count(self, node: NodeProto, read: list[Operand]) -> None:
        """Count a node as a reader of its inputs; for a node that only passes a value on, its readers count."""
        for index, operand in enumerate(read):
            if index == 0 and node.op_type in KEEPING and is_standard(node.domain):
                self._kept[node.output[0]] = operand.name
            else:
                self._readers[self._root(operand.name)] += 1

    def _root(self, name: str) -> str:
        while name in self._kept:
            name = self._kept[name]
        return name
