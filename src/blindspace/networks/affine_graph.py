"""The affine part of a network as a graph: values, the linear maps between them, and what other operations read.

PyTorch and ONNX networks are both recorded as such a graph. A value is affine in the input if it is known as a sum of
linear maps of other affine values, up to a constant. The affine values that other operations read are the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

import torch

from ..errors import ShapeError
from ..maps import (
    Centring,
    Diagonal,
    Gather,
    Identity,
    LinearMap,
    Padding,
    Rearrange,
    Shape,
    compose,
    gather,
    summed,
    vstack,
)
from ..maps.content_key import map_key
from ..maps.properties import is_injective, positions

LARGEST_MATRIX = 256 << 20
"""Bytes of the matrix of a front up to which a centring is kept that no map before it absorbs."""


def value_shape(tensor: Shape) -> Shape:
    """Shape of the value in a tensor of that shape: without a first axis of one, which is the batch."""
    return (tensor[1:] if tensor[:1] == (1,) else tensor) or (1,)


@dataclass(eq=False)
class Value:
    """One value of a network.

    Attributes:
        name: Name of the operation that made it, such as ``layer1.0.conv1``.
        shape: Shape without the batch.
        reads: The affine values whose sum it is, up to a constant, each with the map that it goes through. Empty for
            the input, and for values that are not affine in it.
        affine: Whether the value is affine in the input.
        order: Its number in the order in which values were made.
    """

    name: str
    shape: Shape
    reads: tuple[tuple[Value, LinearMap], ...] = ()
    affine: bool = True
    order: int = 0

    def __repr__(self) -> str:
        return f"{self.name}{self.shape}"


@dataclass(eq=False)
class AffineGraph:
    """The affine part of a network.

    Attributes:
        input: The input of the network.
        front: The affine values that operations which are not linear read, each with the names of these operations.
        size: Number of values recorded so far.
        uncentred: Values without their means, each with the value that it was made of.
    """

    input: Value
    front: dict[Value, list[str]] = field(default_factory=dict)
    size: int = 0
    uncentred: dict[Value, Value] = field(default_factory=dict)
    _centred: dict[tuple[Value, Shape, Shape], Value] = field(default_factory=dict)

    def affine(self, name: str, shape: Shape, reads: Iterable[tuple[Value, LinearMap]]) -> Value:
        """A new value that is the sum of linear maps of others.

        Raises:
            ShapeError: A map does not lead from the value that it reads to that shape.
        """
        reads = tuple(reads)
        for source, operator in reads:
            if operator.in_shape != source.shape or operator.out_shape != shape:
                raise ShapeError(f"{operator} does not lead from {source} to {name}{shape}")
        self.size += 1
        return Value(name, shape, reads, order=self.size)

    def centred(self, value: Value, shape: Shape, axes: Sequence[int]) -> Value | None:
        """The deviations of a value from its mean; the same one if asked for again.

        Args:
            value: The value; returned unchanged if it is not affine.
            shape: A shape of as many values, in the same order.
            axes: The axes of that shape along which the mean is taken.

        Returns:
            None if the mean is of single values, so that nothing is left.
        """
        if not value.affine:
            return value
        if prod(shape[axis] for axis in axes) < 2:
            return None
        key = value, shape, tuple(axes)
        if key not in self._centred:
            operator = compose(Rearrange(value.shape, shape), Centring(shape, axes))
            self._centred[key] = made = self.affine(f"{value.name}, centred", operator.out_shape, [(value, operator)])
            self.uncentred[made] = value
        return self._centred[key]

    def other(self, name: str, shape: Shape, read: Iterable[Value]) -> Value:
        """A new value that is not known to be affine, computed from others by the operation of that name."""
        for value in read:
            self.reads(value, name)
        self.size += 1
        return Value(name, shape, affine=False, order=self.size)

    def reads(self, value: Value, by: str) -> None:
        """Record that an operation which is not linear reads a value."""
        if value.affine:
            self.front.setdefault(value, []).append(by)


@dataclass(frozen=True)
class Layer:
    """One linear layer at its place in a network.

    Attributes:
        name: Name of the module or node, such as ``5.conv1``.
        kind: Class name of the module, or name of the operation.
        operator: The linear map of the layer.
        harmless_for_network: Whether nothing else reads its input. If a skip connection carries the input past the
            layer, a perturbation in the layer's nullspace still reaches the output.
    """

    name: str
    kind: str
    operator: LinearMap
    harmless_for_network: bool


@dataclass(frozen=True)
class Recording:
    """A network followed from its input.

    Attributes:
        graph: The values that are affine in the input, and the operations that read them.
        layers: The linear layers in the order in which they are called; a layer that is called twice occurs twice.
        precision: The coarsest precision in which the network multiplied while it was recorded, or that of its input.
    """

    graph: AffineGraph
    layers: tuple[Layer, ...]
    precision: torch.dtype = torch.float64


def front_values(graph: AffineGraph) -> dict[Value, list[str]]:
    """The fewest values that determine the whole front, in the order of their making, each with its readers.

    Values that others determine are left out, and a value that only moves, pads or scales others is replaced by these.
    A centred value of which solvers could make nothing is replaced by the value itself: the space is then too small.
    """
    found = _fewest(graph.front)
    paths = _Paths(graph.input)
    for value, readers in list(found.items()):
        if value in graph.uncentred and not _tractable(paths.between(graph.input, value), len(found) == 1):
            del found[value]
            found.setdefault(graph.uncentred[value], []).extend(readers)
    return _fewest(found)


def _tractable(operator: LinearMap, alone: bool) -> bool:
    """Whether solvers serve a map that ends in a centring, in the front alone or beside others."""
    *before, last = operator.factors
    if not before or not isinstance(last, Centring) or 8 * operator.in_dim * operator.out_dim <= LARGEST_MATRIX:
        return True
    return alone and last.in_dim <= operator.in_dim  # if the map before is onto, so is the whole


def _fewest(front: dict[Value, list[str]]) -> dict[Value, list[str]]:
    """The fewest values that determine others, in the order of their making, each with its readers."""
    found = _independent(front)
    if len(found) > 1:
        apart: dict[Value, list[str]] = {}
        left = list(found.items())
        while left:
            value, names = left.pop()
            if value.reads and _apart(value):
                left += [(source, names) for source, _ in value.reads]
            else:
                apart[value] = [*apart.get(value, []), *names]
        found = _independent(apart)
    return found


def _independent(values: dict[Value, list[str]]) -> dict[Value, list[str]]:
    """The values without those that the others determine."""
    left = set(values)
    for value in sorted(values, key=lambda v: -v.order):
        if _determined(value, left - {value}):
            left.remove(value)
    return {value: values[value] for value in sorted(left, key=lambda v: v.order)}


def _apart(value: Value) -> bool:
    """Whether a value determines each value that it reads: one through an injective map, or several side by side."""
    maps = [operator for _, operator in value.reads]
    if len(maps) == 1:
        return bool(is_injective(maps[0]))
    if not all(isinstance(operator, Padding | Gather) and is_injective(operator) for operator in maps):
        return False
    taken = torch.stack([operator @ torch.ones(operator.in_shape, dtype=torch.float64) != 0 for operator in maps])
    return int(taken.sum(0).max()) <= 1


def _determined(value: Value, by: set[Value]) -> bool:
    """Whether a set of values determines a value."""
    known: dict[Value, bool] = {}
    stack = [value]
    while stack:
        top = stack[-1]
        if top in by or not top.reads:
            known[top] = top in by
        elif all(source in known for source, _ in top.reads):
            known[top] = all(known[source] for source, _ in top.reads)
        else:
            stack += [source for source, _ in top.reads if source not in known]
            continue
        stack.pop()
    return known[value]


def front_map(graph: AffineGraph) -> LinearMap:
    """The linear part of the front: one map from the input to all its values side by side.

    It is the identity if the network begins with an operation that is not linear, and 0 if nothing reads the input.
    What is constant by structure, such as a class token, is left out of values that an operation reads, and kept in the
    network's own output.
    """
    front = front_values(graph)
    values = list(front)
    if not values:
        return Diagonal(torch.zeros((), dtype=torch.float64), graph.input.shape)
    paths = _Paths(graph.input)
    start = values[0]
    for value in values[1:]:
        start = paths.meet(start, value)
    if len(values) == 1:
        operator = paths.between(graph.input, values[0])
        return operator if "output" in front[values[0]] else _varying(operator)
    before = paths.between(graph.input, start)
    # A map with fewer outputs than inputs is applied once; any other is folded into each branch.
    start = graph.input if before.out_dim >= before.in_dim else start
    branches = vstack(_distinct([_varying(paths.between(start, value)) for value in values]))
    return branches if start is graph.input else compose(before, branches)


def maps_of(graph: AffineGraph, values: Iterable[Value]) -> list[LinearMap]:
    """The linear part of each of several affine values, a map from the input."""
    paths = _Paths(graph.input)
    return [paths.between(graph.input, value) for value in values]


def output_map(graph: AffineGraph) -> LinearMap | None:
    """The linear part of a network that is affine as a whole, from its input to its only output; None for others."""
    outputs = [value for value, readers in graph.front.items() if "output" in readers]
    return _Paths(graph.input).between(graph.input, outputs[0]) if len(outputs) == 1 else None


def _distinct(maps: Sequence[LinearMap]) -> list[LinearMap]:
    """The maps without those that code has computed twice."""
    keys = [map_key(operator) for operator in maps]
    return [each for i, each in enumerate(maps) if keys[i] is None or keys[i] not in keys[:i]]


def _varying(operator: LinearMap) -> LinearMap:
    """A map without those outputs that its last factor fills with zeros; unchanged if there are none, or no others."""
    *before, last = operator.factors
    read = positions(last)
    if read is None or bool((read >= 0).all()) or not bool((read >= 0).any()):
        return operator
    kept = read[read >= 0]
    return compose(*before, gather(last.in_shape, (len(kept),), kept))


class _Paths:
    """Maps between values by way of the dominators of the graph, the values that all paths go through.

    Known as immediate dominators by intersection (Cooper, Harvey & Kennedy 2001).

    Args:
        start: The value where all paths begin.
    """

    def __init__(self, start: Value) -> None:
        self.start = start
        self._through: dict[Value, Value] = {}
        self._maps: dict[tuple[Value, Value], LinearMap] = {}

    def through(self, value: Value) -> Value:
        """The immediate dominator of a value: the last one before it that all paths to it go through."""
        stack = [value]
        while stack:
            top = stack[-1]
            sources = [source for source, _ in top.reads]
            missing = [s for s in sources if s is not self.start and s not in self._through]
            if missing:
                stack += missing
                continue
            stack.pop()
            if top not in self._through:
                meet = sources[0]
                for source in sources[1:]:
                    meet = self.meet(meet, source)
                self._through[top] = meet
        return self._through[value]

    def meet(self, a: Value, b: Value) -> Value:
        """The nearest common dominator of two values."""
        while a is not b:
            if a.order > b.order:
                a = self.through(a)
            else:
                b = self.through(b)
        return a

    def between(self, start: Value, end: Value) -> LinearMap:
        """The map from a dominator of a value to that value."""
        factors: list[LinearMap] = []
        while end is not start:
            before = self.through(end)
            factors.insert(0, self._last(before, end))
            end = before
        return compose(*factors) if factors else Identity(start.shape)

    def _last(self, start: Value, end: Value) -> LinearMap:
        """The map from the immediate dominator of a value to the value: the sum over the values that it reads."""
        if (start, end) not in self._maps:
            ways = [compose(self.between(start, source), operator) for source, operator in end.reads]
            self._maps[start, end] = summed(ways)
        return self._maps[start, end]
