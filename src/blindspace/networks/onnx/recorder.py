"""An ONNX network followed from its input: its affine graph and its linear layers, read from the graph of the file.

The runtime runs the whole network twice. So all shapes are those of the runtime, constants are already computed, and
every map on the way to the front is checked against what its node did between the two runs: a map that disagrees is
not used, and the front ends there.

Conditions: the nodes in the branches of an If are followed outside of it, those of the branch that is taken if the
condition is constant, else those of both. A sequence is followed by the tensors in it.

Quantised networks: weights that are stored as integers and de-quantised in the graph are constants like any other. A
QuantizeLinear of a value that depends on the input rounds it: a change outside the nullspace may vanish, and a change
inside may be rounded differently, so the front ends there; ``unrounded.py`` reads such a network without its roundings.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import BlindspaceError, BlindspaceWarning
from ...maps import LinearMap, Shape
from ...maps.properties import is_identity
from ..affine_graph import AffineGraph, Layer, Recording, Value, value_shape
from .call import RULES, Call, Operand, Terms
from .centring import read_values
from .columns import by_columns
from .inputs import full_shape, network_input
from .nodes import SEQUENCES, SHAPES, captured, may_be_constant, needed, values_read
from .operations import KEEPING, LAYERS
from .rewriting import branches_outside, can_be_taken_apart, copied, simplified
from .runs import run_twice, same_outputs
from .session import is_standard, operation, require

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def record_onnx(model: ModelProto, input_shape: Shape, before: LinearMap | None = None) -> Recording:
    """Follow an ONNX network from its input.

    Operations of other domains, loops, and operations without a rule end the front; the harmless space can therefore
    be reported too small, never too large.

    Args:
        model: A checked model of one input, with all its weights inside.
        input_shape: Shape of one input, without the batch.
        before: Map of the preprocessing, from the user's images to the input of the file; the identity if None.

    Raises:
        UnsupportedLayerError: The runtime cannot run the network on such an input; the message gives the reason.
        ShapeError: ``before`` writes another shape.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    recorder = followed(model, input_shape, before)
    return Recording(recorder.graph, tuple(recorder.layers()))


def followed(model: ModelProto, input_shape: Shape, before: LinearMap | None) -> Recorder:
    """What was found on the way through the nodes, in the form in which most of them are known. As ``record_onnx``."""
    try:
        recorder = Recorder(simplified(model), input_shape, before)
    except BlindspaceError:  # the parts of an operation may not exist in its version of the standard
        recorder = Recorder(model, input_shape, before)
    while recorder.conditions:
        settled = {name: taken for name, taken in recorder.conditions.items() if taken is not None}
        outside = simplified(branches_outside(recorder.model, settled or recorder.conditions))
        try:
            recorder = Recorder(outside, input_shape, before)
        except BlindspaceError:
            if settled:
                raise
            break  # a branch that is not taken cannot be computed
    given = network_input(model)
    if recorder.model is not model and not same_outputs(model, recorder.model, given, full_shape(given, input_shape)):
        recorder = Recorder(model, input_shape, before)
    return recorder


@dataclass(frozen=True)
class _Found:
    """A linear layer: its node, the name of what it reads, and its map."""

    node: NodeProto
    read: str
    operator: LinearMap


class Recorder:
    """Goes through the nodes of a model in their order. Arguments and errors as ``record_onnx``.

    Attributes:
        model: The model.
        given: Name of its input.
        graph: Its affine graph.
        runs: Its values in two runs.
        tensors: What is known of each tensor, by name.
        outputs: The names of its outputs.
        conditions: By their first outputs, the conditions whose branches may stand outside of them, and which branch is
            taken; None if that depends on the input.
    """

    def __init__(self, model: ModelProto, input_shape: Shape, before: LinearMap | None) -> None:
        onnx = require("onnx")
        self.model = model
        self.opsets = tuple(model.opset_import)
        weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        given = network_input(model)
        self.given = given.name
        tensor = full_shape(given, input_shape)
        nodes = needed(model.graph)
        self.runs = run_twice(model, nodes, given, tensor)
        read = Value(given.name, value_shape(tensor))
        self.graph = AffineGraph(read if before is None else Value("input", before.in_shape))
        if before is not None:
            read = self.graph.affine(given.name, read.shape, [(self.graph.input, before)])
        self.tensors: dict[str, Operand] = {
            name: Operand(name, array.shape, constant=array) for name, array in weights.items()
        }
        self.tensors[given.name] = Operand(given.name, tensor, value=read)
        self.sequences: dict[str, list[str]] = {}
        self.conditions: dict[str, bool | None] = {}
        self._found: list[_Found] = []
        self._readers: Counter[str] = Counter()
        self._kept: dict[str, str] = {}
        for node in nodes:
            if not self._follow_sequence(node):
                self._follow(node)
        self.outputs = [part for output in model.graph.output for part in self._parts(output.name)]
        for name in self.outputs:
            operand = self.tensors.get(name)
            if operand is not None and operand.value is not None:
                self.graph.reads(operand.value, "output")

    def _follow_sequence(self, node: NodeProto) -> bool:
        """Record what an operation on sequences does, as one on the tensors in them; False if that is not known."""
        if operation(node) not in SEQUENCES:
            return False
        read, (written,) = list(node.input), node.output
        if node.op_type in ("SplitToSequence", "SequenceConstruct", "SequenceEmpty"):
            parts = self.runs.sequences.get(written)
            splits = node.op_type == "SplitToSequence"
            if parts is None or (
                splits and any(self._operand(name).constant is None for name in filter(None, read[1:]))
            ):
                return False  # the number of tensors is not constant
            if splits:
                self._follow(_between(node, read, parts))
            self.sequences[written] = parts if splits else read
            return True
        if read[0] not in self.sequences:
            return False
        parts = list(self.sequences[read[0]])
        if node.op_type == "ConcatFromSequence":
            self._follow(_between(node, parts, [written]))
            return True
        if node.op_type == "SequenceLength":
            self.tensors[written] = Operand(written, (), constant=np.array(len(parts)))
            return True
        place = read[-1] if node.op_type != "SequenceInsert" else (*read, "")[2]
        index = (
            self._operand(place).constant if place else np.array(-1 if node.op_type == "SequenceErase" else len(parts))
        )
        if index is None:
            return False
        if node.op_type == "SequenceAt":
            self._follow(_between(node, [parts[int(index)]], [written], "Identity"))
            return True
        if node.op_type == "SequenceInsert":
            parts.insert(int(index), read[1])
        else:
            del parts[int(index)]
        self.sequences[written] = parts
        return True

    def _follow(self, node: NodeProto) -> None:
        """Record what one node writes."""
        given = [part for name in values_read(node) for part in self._parts(name)]
        operands = tuple(self._operand(name) if name else None for name in given)
        inside = [self._operand(part) for name in captured(node) for part in self._parts(name)]
        read = [operand for operand in (*operands, *inside) if operand is not None]
        if self._is_constant(node, read):
            for name in filter(None, node.output):
                self.tensors[name] = Operand(name, self.runs.shape(name), constant=self.runs.first[name])
            return
        if node.op_type not in SHAPES:
            self._count(node, read)
        if can_be_taken_apart(node):
            self._choose(node, read)
        written = [name for name in node.output if name]
        call = Call(node, self.opsets, operands, tuple(self.runs.shape(name) for name in node.output))
        values = [operand.value for operand in read if operand.value is not None]
        affine = bool(values) and all(value.affine for value in values)
        found = self._terms(call) if not inside and (affine or node.op_type in LAYERS) else None
        if found is not None and node.op_type in LAYERS and len(call.varying) == 1:
            ((index, operator),) = found[0]
            if index < 2:  # not the bias
                self._found.append(_Found(node, node.input[index], operator))
        if found is not None and affine and len(found) == len(node.output):
            for name, terms in zip(node.output, found, strict=True):
                if not name:
                    continue
                if terms:
                    self._keep(name, self._affine(node, operands, terms))
                else:
                    self.tensors[name] = Operand(name, self.runs.shape(name), constant=self.runs.first[name])
            return
        label = f"{node.op_type} {node.name or node.output[0]}"
        for value in read_values(self.graph, call, [each.value for each in inside if each.value is not None]):
            self.graph.reads(value, label)
        for name in written:
            self._keep(name, self.graph.other(node.name or name, value_shape(self.runs.shape(name)), ()))

    def _choose(self, node: NodeProto, read: list[Operand]) -> None:
        """Note a condition whose branches may stand outside of it."""
        condition = read[0].constant
        if condition is not None:
            self.conditions[node.output[0]] = bool(condition)
        elif any(operand.value is not None and operand.value.affine for operand in read):
            self.conditions[node.output[0]] = None

    def layers(self) -> Iterator[Layer]:
        """The linear layers, in the order of their nodes."""
        for found in self._found:
            read = self._root(found.read)
            alone = self._readers[read] + sum(self._root(name) == read for name in self.outputs) == 1
            yield Layer(found.node.name or found.node.output[0], found.node.op_type, found.operator, alone)

    def _parts(self, name: str) -> list[str]:
        """The names of the tensors in a sequence; of a tensor, its own name."""
        return self.sequences.get(name, [name])

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
        deviates = False
        for rule in (RULES.get(call.op), by_columns):
            try:
                found = None if rule is None else rule(call)
                agree = found is not None and self._agree(call, found)
            except (BlindspaceError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
                continue  # an option that the rule does not support
            if agree:
                return found
            deviates |= found is not None
        if deviates:
            label = call.node.name or call.node.output[0]
            warnings.warn(
                f"{call.op} {label} does not compute here what the standard says and is treated as not affine",
                BlindspaceWarning,
                stacklevel=2,
            )
        return None

    def _agree(self, call: Call, found: list[Terms]) -> bool:
        """Whether maps lead to the outputs of a node and take changes to what the node made of them."""
        shapes = all(
            operator.out_shape == call.out_shape(output) for output, terms in enumerate(found) for _, operator in terms
        )
        return shapes and all(self.runs.agree(call, output, terms) for output, terms in enumerate(found))

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


def _between(node: NodeProto, read: Sequence[str], written: Sequence[str], op: str = "") -> NodeProto:
    """A node with other inputs and outputs, and, if given, another operation."""
    found: NodeProto = copied(node)
    found.input[:] = read
    found.output[:] = written
    found.op_type = op or node.op_type
    return found
