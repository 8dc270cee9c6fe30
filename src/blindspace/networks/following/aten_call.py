"""One operation of torch about to run on values that depend on a network's input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ...maps import LinearMap, Rearrange, Shape, gather
from ..affine_graph import Value


@dataclass(eq=False)
class Call:
    """One operation about to run.

    Attributes:
        func: torch's operation.
        args: as given.
        kwargs: as given.
        values: the values in tensors that depend on the input, by the tensors' ids.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    values: dict[int, Value]

    @cached_property
    def name(self) -> str:
        """Of the operation, an in-place one called as if it were not."""
        name = str(self.func._schema.name).split("::")[-1]
        in_place = name.endswith("_") and not name.endswith("__")
        return name[:-1] if in_place else name

    @cached_property
    def given(self) -> dict[str, Any]:
        """Arguments by name, defaults included."""
        found = {}
        for index, argument in enumerate(self.func._schema.arguments):
            if index < len(self.args):
                found[argument.name] = self.args[index]
            else:
                found[argument.name] = self.kwargs.get(argument.name, argument.default_value)
        return found

    def written(self) -> list[Tensor]:
        """The tensors it writes into."""
        marked = [a.name for a in self.func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        return [leaf for name in marked for leaf in tree_leaves(self.given[name]) if isinstance(leaf, Tensor)]

    @cached_property
    def functional(self) -> Any:
        """The operation without writing in place."""
        if not self.func._schema.is_mutable:
            return self.func
        packet = getattr(torch.ops.aten, self.name, None)
        return getattr(packet, self.func._overloadname, None) if packet is not None else None

    def dependent(self) -> list[Tensor]:
        """The tensors that depend on the input, once each."""
        leaves = [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]
        return list({id(leaf): leaf for leaf in leaves if id(leaf) in self.values}.values())

    def only(self, name: str) -> bool:
        """Whether that argument alone depends on the input, and as one tensor."""
        leaves = [leaf for leaf in tree_leaves((self.args, self.kwargs)) if id(leaf) in self.values]
        return len(leaves) == 1 and leaves[0] is self.given.get(name)

    def run(self, replaced: dict[int, Tensor], constants: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The operation on other tensors: those that depend on the input by their ids, and what is made of the rest."""

        def other(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            return replaced[id(leaf)] if id(leaf) in replaced else constants(leaf)

        args, kwargs = tree_map(other, (self.args, self.kwargs))
        result = self.functional(*args, **kwargs)
        return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]

    def value(self, name: str) -> Value | None:
        """The value of an argument, where it alone depends on the input."""
        return self.values[id(self.given[name])] if self.only(name) else None


def value_shape(tensor: Tensor) -> Shape:
    """Shape of the value in a tensor: without a first axis of one, which the batch is."""
    shape = tuple(int(n) for n in tensor.shape)
    return (shape[1:] if shape[:1] == (1,) else shape) or (1,)


def batched(tensor: Tensor) -> bool:
    """Whether a tensor has a first axis of one."""
    return tensor.shape[:1] == (1,)


def expanded(value: Value, tensor: Tensor, whole: torch.Size) -> LinearMap:
    """From the value in a tensor to that tensor broadcast to a whole shape."""
    if tensor.shape == whole:
        return Rearrange(value.shape, value.shape)
    numbers = torch.arange(tensor.numel()).reshape(tensor.shape).expand(whole)
    return gather(value.shape, value_shape(numbers), numbers.flatten())
