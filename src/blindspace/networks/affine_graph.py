"""What of a network is affine in its input: its values, the maps between them, and what the rest of the network reads.

PyTorch and ONNX networks are both recorded as such a graph. A value is affine where it is known as a sum of linear maps
of other affine values, constants aside. The values that something else than a linear map reads are the front.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from ..errors import ShapeError
from ..maps import Gather, Identity, LinearMap, Padding, Shape, compose, summed, vstack
from ..maps.properties import is_injective


def value_shape(tensor: Shape) -> Shape:
    """Shape of the value in a tensor of that shape: without a first axis of one, which is the batch."""
    return (tensor[1:] if tensor[:1] == (1,) else tensor) or (1,)


@dataclass(eq=False)
class Value:
    """One value of a network.

    Attributes:
        name: of the operation that made it, such as ``layer1.0.conv1``.
        shape: without the batch.
        reads: affine values and the maps by which it is their sum, a constant aside. Empty for the input, and for
            what is not affine in it.
        affine: whether it is affine in the input.
        order: at which it was made.
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
        input: the value it begins with.
        front: what operations that are not linear read, and the names of these operations.
        size: values recorded so far.
    """

    input: Value
    front: dict[Value, list[str]] = field(default_factory=dict)
    size: int = 0

    def affine(self, name: str, shape: Shape, reads: Iterable[tuple[Value, LinearMap]]) -> Value:
        """A new value that is the sum of linear maps of others.

        Raises:
            ShapeError: a map does not lead from the value it reads to that shape.
        """
        reads = tuple(reads)
        for source, operator in reads:
            if operator.in_shape != source.shape or operator.out_shape != shape:
                raise ShapeError(f"{operator} does not lead from {source} to {name}{shape}")
        self.size += 1
        return Value(name, shape, reads, order=self.size)

    def other(self, name: str, shape: Shape, read: Iterable[Value]) -> Value:
        """A new value that is not known to be affine, worked out from others by the operation of that name."""
        for value in read:
            self.reads(value, name)
        self.size += 1
        return Value(name, shape, affine=False, order=self.size)

    def reads(self, value: Value, by: str) -> None:
        """Says that an operation which is not linear reads a value."""
        if value.affine:
            self.front.setdefault(value, []).append(by)


@dataclass(frozen=True)
class Layer:
    """One linear layer at its place in a network.

    Attributes:
        name: of the module or node, such as ``5.conv1``.
        kind: class name of the module, or the operation's name.
        operator: what it does to a perturbation of its input.
        harmless_for_network: whether nothing else reads its input; where a skip connection carries the input past the
            layer, a perturbation it cannot see still reaches the output.
    """

    name: str
    kind: str
    operator: LinearMap
    harmless_for_network: bool


@dataclass(frozen=True)
class Recording:
    """A network followed from its input.

    Attributes:
        graph: what is affine in the input, and what reads it.
        layers: the linear layers in the order they are called; one called twice stands there twice.
    """

    graph: AffineGraph
    layers: tuple[Layer, ...]


def front_values(graph: AffineGraph) -> dict[Value, list[str]]:
    """The fewest values that stand for the whole front, in the order they were made, and what reads them.

    Of several, those are left out that can be worked out from the rest, and where one only moves, pads or scales
    others, these are taken.
    """
    found = _independent(graph.front)
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
    """Without those that are worked out from the rest."""
    left = set(values)
    for value in sorted(values, key=lambda v: -v.order):
        if _determined(value, left - {value}):
            left.remove(value)
    return {value: values[value] for value in sorted(left, key=lambda v: v.order)}


def _apart(value: Value) -> bool:
    """Whether each of the values it reads can be read off it: one that loses nothing, or several side by side."""
    maps = [operator for _, operator in value.reads]
    if len(maps) == 1:
        return bool(is_injective(maps[0]))
    if not all(isinstance(operator, Padding | Gather) and is_injective(operator) for operator in maps):
        return False
    taken = torch.stack([operator @ torch.ones(operator.in_shape, dtype=torch.float64) != 0 for operator in maps])
    return int(taken.sum(0).max()) <= 1


def _determined(value: Value, by: set[Value]) -> bool:
    """Whether a value is worked out from others alone."""
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
    """The linear part of the front, of all its values side by side.

    Returns:
        One map from the input: the identity where the network begins with something that is not linear.
    """
    values = list(front_values(graph))
    if not values:
        return Identity(graph.input.shape)
    paths = _Paths(graph.input)
    start = values[0]
    for value in values[1:]:
        start = paths.meet(start, value)
    if len(values) == 1:
        return paths.between(graph.input, values[0])
    before = paths.between(graph.input, start)
    if before.out_dim >= before.in_dim:  # it goes into each branch; only what loses values is better done once
        return vstack([paths.between(graph.input, value) for value in values])
    return compose(before, vstack([paths.between(start, value) for value in values]))


class _Paths:
    """Maps between values, by way of those that all paths go through.

    Args:
        input: where all paths begin.
    """

    def __init__(self, input: Value) -> None:
        self.input = input
        self._through: dict[Value, Value] = {}
        self._maps: dict[tuple[Value, Value], LinearMap] = {}

    def through(self, value: Value) -> Value:
        """The last value before that all paths to it go through (its immediate dominator)."""
        stack = [value]
        while stack:
            top = stack[-1]
            sources = [source for source, _ in top.reads]
            missing = [s for s in sources if s is not self.input and s not in self._through]
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
        """The last value that all paths to both go through."""
        while a is not b:
            if a.order > b.order:
                a = self.through(a)
            else:
                b = self.through(b)
        return a

    def between(self, start: Value, end: Value) -> LinearMap:
        """The map from one value to another, all of whose paths go through the first."""
        factors: list[LinearMap] = []
        while end is not start:
            before = self.through(end)
            factors.insert(0, self._last(before, end))
            end = before
        return compose(*factors) if factors else Identity(start.shape)

    def _last(self, start: Value, end: Value) -> LinearMap:
        """From its dominator to a value: the sum over the ways there."""
        if (start, end) not in self._maps:
            ways = [(source is start, source, operator) for source, operator in end.reads]
            self._maps[start, end] = summed(
                [
                    operator if direct else compose(self.between(start, source), operator)
                    for direct, source, operator in ways
                ]
            )
        return self._maps[start, end]
