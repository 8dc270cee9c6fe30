"""One of torch's operations as a function of the values it reads, in float64, and the check that it is affine.

Values are read and written as real numbers: a complex tensor has its real and imaginary parts along a last axis of two.
The constants that an operation reads are copied, as the network may write into them later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ...errors import UnsupportedLayerError, first_line
from ...maps import Jacobian, LinearMap
from ..affine_graph import Value
from .aten_call import Call, shape_of, tensors_in

Maps = dict[int, LinearMap]
"""The maps that operands go through to one output, by their places; the output is their sum, up to a constant."""

COMBINATIONS = ((-1.0, 0.0), (1.0, 1.0), (1e3, -1e3), (0.0, -1e-3))
"""Factors of two random directions whose sum is a point at which an operation is compared with its map."""

CHECKED = 1e-9
"""Largest difference between a map and its operation, relative to the change of the same output value."""

FLOOR = 1e-12
"""The same, relative to the largest change of any output value."""


@dataclass(frozen=True, eq=False)
class Operand:
    """A tensor among the arguments of an operation that depends on the network's input.

    Attributes:
        argument: Name of the argument that it is, or that lists it.
        tensor: The tensor.
        value: The value that it holds.
    """

    argument: str
    tensor: Tensor
    value: Value


class Function:
    """An operation as a function of its operands, its other arguments fixed.

    Args:
        call: The operation, which has a functional variant.

    Attributes:
        operands: The tensors that depend on the network's input, by their places among the arguments.
    """

    def __init__(self, call: Call) -> None:
        self.operands: dict[int, Operand] = {}
        self._func = call.functional
        self._arguments = [a for a in self._func._schema.arguments if a.name in call.given]
        self._leaves, self._tree = tree_flatten([call.given[a.name] for a in self._arguments])
        names = [a.name for a in self._arguments for _ in tree_flatten(call.given[a.name])[0]]
        for place, (name, leaf) in enumerate(zip(names, self._leaves, strict=True)):
            if isinstance(leaf, Tensor) and id(leaf) in call.values:
                self.operands[place] = Operand(name, leaf, call.value_of(leaf))
                self._leaves[place] = torch.zeros(leaf.shape, dtype=precision_of(leaf.dtype, torch.float64))
            else:
                self._leaves[place] = _copied(leaf)

    def run(self, points: Mapping[int, Tensor], changed: Mapping[str, Any] = MappingProxyType({})) -> list[Tensor]:
        """The tensors that the operation returns.

        Args:
            points: Real coordinates of operands by their places, ``operand.value.shape``; other operands are zero.
            changed: Other values of arguments, by name.

        Raises:
            UnsupportedLayerError: Torch refuses the operation in this precision.
        """
        dtype = next((point.dtype for point in points.values()), torch.float64)
        leaves = [_in(leaf, dtype) for leaf in self._leaves]
        for place, point in points.items():
            leaves[place] = _as_tensor(point, self.operands[place].tensor)
        given = self._by_name(leaves) | dict(changed)
        args = [given[a.name] for a in self._arguments if not a.kwarg_only]
        kwargs = {a.name: given[a.name] for a in self._arguments if a.kwarg_only}
        try:
            return tensors_in(self._func(*args, **kwargs))
        except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise UnsupportedLayerError(f"{self._func} cannot run in {dtype}: {first_line(error)}") from error

    def linear_part(self, place: int, name: str, added: Iterable[str]) -> LinearMap:
        """The first output as a map of one operand, by the operation itself.

        Args:
            place: Place of the operand.
            name: Name of the operation.
            added: Names of arguments that are only added to what the operand gives; they are set to zero.
        """
        given = self._by_name(self._leaves)
        zeros = {name: torch.zeros_like(given[name]) for name in added if isinstance(given[name], Tensor)}

        def function(x: Tensor) -> Tensor:
            return coordinates(self.run({place: x}, {name: _in(zero, x.dtype) for name, zero in zeros.items()})[0])

        shape = self.operands[place].value.shape
        generator = torch.Generator().manual_seed(1)
        # The derivative of torch.polar is right for positive numbers only.
        positive = torch.rand(shape, generator=generator, dtype=torch.float64)
        return Jacobian(function, shape, positive, name, affine=True)

    def does(self, found: Sequence[Maps]) -> bool:
        """Whether the outputs change as the maps say, compared with the change itself, at small and large points.

        While a network is followed no derivative can be taken. Where the map of an operand is the operation itself, its
        changes in two directions must add up and scale.

        Args:
            found: The maps to every output; an output that does not change has none.
        """
        generator = torch.Generator().manual_seed(1)
        start = self.run({})

        def changes(points: Mapping[int, Tensor]) -> list[Tensor]:
            return [_change(a, b) for a, b in zip(start, self.run(points), strict=True)]

        def responses(place: int, point: Tensor) -> list[Tensor]:
            maps = [each.get(place) for each in found]
            if any(isinstance(part, Jacobian) for each in maps if each is not None for part in each.factors):
                return changes({place: point})
            none = torch.zeros((), dtype=torch.float64)
            return [none if each is None else each.forward(point) for each in maps]

        directions: dict[int, list[Tensor]] = {}
        expected: dict[int, list[list[Tensor]]] = {}
        for place, operand in self.operands.items():
            shape = operand.value.shape
            directions[place] = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
            expected[place] = [responses(place, direction) for direction in directions[place]]
        together = [tuple(self.operands)] if len(self.operands) > 1 else []
        for places in [*((place,) for place in self.operands), *together]:
            for factors in COMBINATIONS:
                pairs = [(k, c) for k, c in enumerate(factors) if c]
                points = {place: _total([c * directions[place][k] for k, c in pairs]) for place in places}
                for j, change in enumerate(changes(points)):
                    terms = [c * expected[place][k][j] for place in places for k, c in pairs]
                    before = start[j] if max(map(abs, factors)) < 1 else None
                    if not _agree(change, terms, before):
                        return False
        return True

    def _by_name(self, leaves: list[Any]) -> dict[str, Any]:
        return dict(zip([a.name for a in self._arguments], tree_unflatten(leaves, self._tree), strict=True))


def coordinates(tensor: Tensor) -> Tensor:
    """The real numbers in a tensor, in the shape of the value that it holds."""
    if tensor.is_complex():
        tensor, shape = torch.view_as_real(tensor.resolve_conj()), shape_of(tensor)
        return tensor.reshape(shape)
    return tensor.resolve_neg().reshape(shape_of(tensor))


def _as_tensor(point: Tensor, like: Tensor) -> Tensor:
    """The tensor with these coordinates, in the shape of another one."""
    if not like.is_complex():
        return point.reshape(like.shape)
    return torch.view_as_complex(point.reshape(*like.shape, 2).contiguous())


def precision_of(of: torch.dtype, dtype: torch.dtype) -> torch.dtype:
    """The dtype of the same kind of numbers, real or complex, in the precision of a real dtype."""
    if of.is_complex:
        return dtype.to_complex()
    return dtype if of.is_floating_point else of


def _copied(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    with torch.inference_mode(False), torch.no_grad():
        if leaf.layout not in (torch.strided, torch.sparse_coo):
            leaf = leaf.to_sparse()  # products with other sparse matrices have no derivative
        return leaf.detach().to(precision_of(leaf.dtype, torch.float64), copy=True)


def _in(leaf: Any, dtype: torch.dtype) -> Any:
    """An argument in the precision of a dtype."""
    if isinstance(leaf, torch.dtype):
        return precision_of(leaf, dtype)
    return leaf.to(precision_of(leaf.dtype, dtype)) if isinstance(leaf, Tensor) else leaf


def _change(before: Tensor, after: Tensor) -> Tensor:
    """The difference of two outputs; 0 where both are the same infinite number."""
    a, b = coordinates(before).double(), coordinates(after).double()
    return torch.where(a == b, torch.zeros_like(a), b - a)


def _agree(change: Tensor, terms: list[Tensor], before: Tensor | None) -> bool:
    """Whether a change is the sum of some terms, but for the rounding of numbers as large as the terms.

    Where a small change is compared, the output before it may round too.
    """
    if not change.numel():
        return True
    scale = _total([term.abs() for term in terms])
    allowed = CHECKED * scale + FLOOR * scale.max()
    if before is not None:
        allowed = allowed + 4 * torch.finfo(torch.float64).eps * coordinates(before).abs()
    return bool(((change - _total(terms)).abs() <= allowed).all())


def _total(terms: list[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])
