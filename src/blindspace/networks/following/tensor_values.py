"""Which value each tensor holds while a network runs, also where operations write into memory that tensors share."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..affine_graph import AffineGraph, Value
from .aten_call import shape_of


class TensorValues:
    """The values that tensors hold.

    Args:
        graph: The graph to which values that are no longer known are added.
    """

    def __init__(self, graph: AffineGraph) -> None:
        self.graph = graph
        self._values: Any = WeakTensorKeyDictionary()
        self._sharing: dict[int, list[weakref.ref[Tensor]]] = {}
        self._written: dict[int, Value] = {}
        self._kept: list[Tensor] = []

    def at(self, tensor: Tensor) -> Value | None:
        """The value in a tensor; None if it does not depend on the input."""
        value: Value | None = self._values.get(tensor)
        return value if value is not None else self._written.get(_memory(tensor))

    def keep(self, tensor: Tensor, value: Value) -> None:
        """Record that a tensor holds a value from now on."""
        self._values[tensor] = value
        sharing = [ref for ref in self._sharing.get(_memory(tensor), []) if ref() is not None]
        if not any(ref() is tensor for ref in sharing):
            sharing.append(weakref.ref(tensor))
        self._sharing[_memory(tensor)] = sharing

    def write(self, tensor: Tensor, values: list[Value], name: str) -> None:
        """Record that an operation wrote into a tensor.

        Other views of the same memory then depend on old and new values and no longer count as affine.

        Args:
            tensor: The tensor that was written into.
            values: The values that the operation read.
            name: Name of the operation.
        """
        memory = _memory(tensor)
        alive = [other for ref in self._sharing.get(memory, []) if (other := ref()) is not None]
        others = [other for other in alive if other is not tensor]
        if tensor._base is None and not others:
            return
        before = [value for each in alive if (value := self._values.get(each)) is not None]
        for other in others:
            self._values[other] = self.graph.other(f"{name}, through a view", shape_of(other), [*before, *values])
        self._kept.append(tensor)  # else its memory might become that of another tensor
        self._written[memory] = self.graph.other(f"{name}, through a view", (1,), [*before, *values])


def _memory(tensor: Tensor) -> int:
    """A number that two tensors share if and only if they share memory."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # sparse and meta tensors have none
        return id(tensor)
