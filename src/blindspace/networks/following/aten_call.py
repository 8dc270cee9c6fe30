"""One of torch's operations (ATen) about to run on values that depend on a network's input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ...maps import Shape
from ..affine_graph import Value, value_shape


@dataclass(eq=False)
class Call:
    """One operation about to run.

    Attributes:
        func: Torch's operation.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        values: The values in tensors that depend on the input, by the tensors' ids.
        precision: The network's own precision; a conversion to a coarser one rounds.
        within: The functions of torch that it is part of, outermost first.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    values: dict[int, Value]
    precision: torch.dtype = torch.float64
    within: tuple[Any, ...] = ()

    @cached_property
    def name(self) -> str:
        """Name of the operation, without the underscore of one that works in place."""
        name = str(self.func._schema.name).split("::")[-1]
        in_place = name.endswith("_") and not name.endswith("__")
        return name[:-1] if in_place else name

    @cached_property
    def given(self) -> dict[str, Any]:
        """Arguments by name, defaults included."""
        arguments = self.func._schema.arguments
        found = {a.name: given for a, given in zip(arguments, self.args, strict=False)}
        return found | {a.name: self.kwargs.get(a.name, a.default_value) for a in arguments[len(self.args) :]}

    @cached_property
    def functional(self) -> Any:
        """The variant of the operation that does not write in place; None if torch has no such variant."""
        if not self.func._schema.is_mutable:
            return self.func
        packet = getattr(torch.ops.aten, self.name, None)
        variants = [getattr(packet, name) for name in packet.overloads()] if packet is not None else []
        wanted = _arguments(self.func)
        return next((each for each in variants if not each._schema.is_mutable and _arguments(each) == wanted), None)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """All tensors that the operation reads."""
        return tensors_in((self.args, self.kwargs))

    @cached_property
    def dependent(self) -> list[Tensor]:
        """The tensors that depend on the network's input, once each."""
        return list({id(tensor): tensor for tensor in self.tensors if id(tensor) in self.values}.values())

    def written(self) -> list[Tensor]:
        """The tensors that the operation writes into."""
        marked = [a.name for a in self.func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        if "batch_norm" in self.name and self.given.get("training"):
            marked += ["running_mean", "running_var"]  # written without a mark
        return tensors_in([self.given.get(name) for name in marked])

    def only(self, name: str) -> bool:
        """Whether the argument of that name is the only one that depends on the network's input, as one tensor."""
        found = [tensor for tensor in self.tensors if id(tensor) in self.values]
        return len(found) == 1 and found[0] is self.given.get(name)

    def value_of(self, tensor: Tensor) -> Value:
        """The value that a dependent tensor holds."""
        return self.values[id(tensor)]

    def axes(self, tensor: Tensor, axes: Iterable[int]) -> list[int]:
        """Axes of a dependent tensor as axes of its value, which lacks the batch; the batch axis is left out."""
        offset = tensor.ndim - len(self.value_of(tensor).shape)
        return [axis % tensor.ndim - offset for axis in axes if axis % tensor.ndim >= offset]


def _arguments(func: Any) -> list[tuple[str, str]]:
    """Names and types of the arguments of an operation."""
    return [(argument.name, str(argument.type)) for argument in func._schema.arguments]


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def shape_of(tensor: Tensor) -> Shape:
    """Shape of the value in a tensor: without a first axis of one, which is the batch.

    A complex tensor holds a value with two real numbers along a last axis.
    """
    parts = (2,) if tensor.is_complex() else ()
    return (*value_shape(tuple(int(n) for n in tensor.shape)), *parts)
