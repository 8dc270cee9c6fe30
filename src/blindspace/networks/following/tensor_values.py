"""Which value each tensor holds while a network runs, also where operations write into memory that tensors share."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakTensorKeyDictionary

from ...maps import LinearMap, operations
from ..affine_graph import AffineGraph, Value
from .aten_call import shape_of


class TensorValues:
    """The values that tensors hold, and the tensors that share memory.

    Memory is known by the storage, and a reference to each storage keeps its number from being given to another one.

    Args:
        graph: The graph to which values are added that tensors hold after a write into shared memory.
    """

    def __init__(self, graph: AffineGraph) -> None:
        self.graph = graph
        self._values: Any = WeakTensorKeyDictionary()
        self._sharing: dict[int, list[weakref.ref[Tensor]]] = {}
        self._storages: dict[int, Any] = {}
        self._own: set[int] = set()

    def at(self, tensor: Tensor) -> Value | None:
        """The value in a tensor; None if it does not depend on the input."""
        value: Value | None = self._values.get(tensor)
        if value is not None or self._is_known(tensor):
            return value
        # A tensor that was made out of sight, such as inside an operator of others, may share memory with known ones.
        hidden = [value for other in self._others(tensor) if (value := self._values.get(other)) is not None]
        return self.graph.other("memory", shape_of(tensor), hidden) if hidden else None

    def keep(self, tensor: Tensor, value: Value | None, own: bool) -> None:
        """Record what a tensor holds from now on.

        Args:
            tensor: The tensor.
            value: Its value; None if it does not depend on the input.
            own: Whether its memory was allocated by a watched operation, if it is seen for the first time; values that
                depend on the input may be written into such memory only.
        """
        if value is None:
            self._values.pop(tensor, None)
        else:
            self._values[tensor] = value
        if self._is_known(tensor):
            return
        memory = memory_of(tensor)
        if memory not in self._storages:
            self._storages[memory] = StorageWeakRef(tensor.untyped_storage()) if _has_storage(tensor) else tensor
            if own:
                self._own.add(memory)
        self._sharing[memory] = [ref for ref in self._sharing.get(memory, []) if ref() is not None]
        self._sharing[memory].append(weakref.ref(tensor))

    def is_own(self, tensor: Tensor) -> bool:
        """Whether only watched tensors can read the memory of a tensor."""
        return memory_of(tensor) in self._own

    def expose(self, tensor: Tensor) -> None:
        """Record that others can read the memory of a tensor from now on."""
        self._own.discard(memory_of(tensor))

    def wrote(self, tensor: Tensor, value: Value | None, name: str) -> None:
        """Record that an operation wrote a value into a tensor: what other tensors of the same memory then hold.

        Args:
            tensor: The tensor that was written into.
            value: The value that it holds now; None if it does not depend on the input.
            name: Name of the operation.
        """
        for other in self._others(tensor):
            before: Value | None = self._values.get(other)
            if value is None and before is None:
                continue
            taken = _read_from(other, tensor)
            if taken is None:  # memory that is read as numbers of another type
                given = [each for each in (before, value) if each is not None]
                self._values[other] = self.graph.other(f"{name}, through a view", shape_of(other), given)
                continue
            inside = taken > 0
            if not bool(inside.any()):
                continue
            terms = _terms(before, torch.where(inside, 0, torch.arange(1, len(taken) + 1)), other)
            terms += _terms(value, taken, other)
            if terms:
                self._values[other] = self._sum(f"{name}, through a view", other, terms)
            else:
                self._values.pop(other, None)

    def _sum(self, name: str, tensor: Tensor, terms: Sequence[tuple[Value, LinearMap]]) -> Value:
        if all(value.affine for value, _ in terms):
            return self.graph.affine(name, shape_of(tensor), terms)
        parts = [self.graph.affine(value.name, shape_of(tensor), [(value, a)]) for value, a in terms if value.affine]
        return self.graph.other(name, shape_of(tensor), parts)

    def _others(self, tensor: Tensor) -> list[Tensor]:
        """The other tensors of the same memory that are alive."""
        sharing = (ref() for ref in self._sharing.get(memory_of(tensor), []))
        return [other for other in sharing if other is not None and other is not tensor]

    def _is_known(self, tensor: Tensor) -> bool:
        return any(ref() is tensor for ref in self._sharing.get(memory_of(tensor), []))


def _terms(value: Value | None, read: Tensor, tensor: Tensor) -> list[tuple[Value, LinearMap]]:
    """A value with the map to a tensor that takes its numbers from these positions, counted from 1; none if all 0."""
    if value is None or not bool(read.any()):
        return []
    return [(value, operations.move(value.shape, read.reshape(shape_of(tensor)).double()))]


def _read_from(tensor: Tensor, written: Tensor) -> Tensor | None:
    """Where each number of a tensor lies in another one of the same memory, counted from 1; 0 where it does not.

    Returns:
        int64, one entry per number of the tensor; None if the two read the memory as numbers of different types, or as
        complex ones.
    """
    if tensor.dtype != written.dtype or tensor.is_complex() or not _has_storage(tensor) or not _has_storage(written):
        return None
    here, there = addresses(tensor), addresses(written)
    if torch.equal(here, there):
        return torch.arange(1, len(here) + 1)
    known, order = there.sort()
    at = torch.searchsorted(known, here).clamp(max=len(known) - 1)
    return torch.where(known[at] == here, order[at] + 1, 0)


def addresses(tensor: Tensor) -> Tensor:
    """The places of a tensor's numbers in its memory, in the order of the numbers, int64 ``(numel,)``."""
    found = torch.tensor(tensor.storage_offset())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        found = found[..., None] + torch.arange(size) * stride
    return found.flatten()


def _has_storage(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_meta


def memory_of(tensor: Tensor) -> int:
    """A number that two tensors share if and only if they share memory."""
    return int(tensor.untyped_storage()._cdata) if _has_storage(tensor) else id(tensor)
