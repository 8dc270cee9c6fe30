"""Outputs of a network, whatever their form, as named tensors and as one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError

ALONE = "output"
"""Name of the output of a network that returns a tensor."""


def named_tensors(outputs: Any) -> dict[str, Tensor]:
    """The tensors in the outputs of a network, in their order.

    Args:
        outputs: A tensor, or tuples, lists, mappings and dataclasses of them, nested to any depth. Whatever else they
            hold, such as None and Python's numbers, is left out.

    Returns:
        Each tensor by its place, such as ``logits``, ``0`` or ``features.1``; a tensor that stands alone is called
        ``output``.
    """
    return {".".join(place) or ALONE: tensor for place, tensor in _leaves(outputs, ())}


def _leaves(outputs: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    if isinstance(outputs, Tensor):
        yield place, outputs
    for name, part in _parts(outputs):
        yield from _leaves(part, (*place, str(name)))


def _parts(outputs: Any) -> Iterable[tuple[Any, Any]]:
    """The parts of a container by name: transformers' outputs are mappings."""
    if isinstance(outputs, Mapping):
        return outputs.items()
    if isinstance(outputs, list | tuple):
        names = getattr(outputs, "_fields", range(len(outputs)))
        return zip(names, outputs, strict=True)
    if is_dataclass(outputs) and not isinstance(outputs, type):
        return ((each.name, getattr(outputs, each.name)) for each in fields(outputs))
    return ()


def picked(outputs: Any, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """The outputs of a network that count.

    Args:
        outputs: As for ``named_tensors``.
        names: The outputs to take, each by its name, or by that of a container for all it holds; all if empty.

    Raises:
        UnknownNameError: No output has that name; the message lists those that exist.
        ShapeError: The outputs hold no tensor.
    """
    found = named_tensors(outputs)
    if any(tensor.is_nested or tensor.layout != torch.strided for tensor in found.values()):
        raise ShapeError("the network returns a sparse or nested tensor; return a dense one, to_dense()")
    if not any(tensor.numel() for tensor in found.values()):
        raise ShapeError(f"the network returns a {type(outputs).__name__} without a tensor that could be compared")
    for name in names:
        if not any(_within(each, name) for each in found):
            raise UnknownNameError(f"no output is called {name!r}; there are {', '.join(found)}")
    if names:
        return {each: tensor for name in names for each, tensor in found.items() if _within(each, name)}
    return found


@dataclass(frozen=True)
class Found:
    """The outputs of a network for a batch.

    Attributes:
        every: The outputs that count, by name.
        named: Whether the user has named them.
    """

    every: Mapping[str, Tensor]
    named: bool = False

    @property
    def compared(self) -> dict[str, Tensor]:
        """The outputs that are compared: real and complex numbers; all where there are none, or if ``named``."""
        numbers = {name: x for name, x in self.every.items() if x.is_floating_point() or x.is_complex()}
        return dict(self.every) if self.named or not numbers else numbers


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def side_by_side(found: Mapping[str, Tensor], batch: int) -> Tensor:
    """Outputs as one tensor: a single one unchanged, several flattened and side by side, ``(B, total)``.

    Args:
        found: The outputs; a complex number counts as two real ones, a truth value and a byte as a whole number.
        batch: Size B of the batch that the network has read.

    Raises:
        ShapeError: An output has no batch axis, though the batch is not of one.
    """
    tensors = [_of_numbers(x) for x in found.values()]
    if len(tensors) == 1 and has_rows(tensors[0], batch):
        return tensors[0]
    if not all(x.shape[:1] == (batch,) for x in tensors) and batch != 1:
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
        raise ShapeError(f"outputs of shapes {shapes} have no batch axis of {batch}; give one input at a time")
    return torch.cat([x.reshape(batch, -1) for x in tensors], 1)


def _of_numbers(output: Tensor) -> Tensor:
    """An output whose numbers can be subtracted."""
    if output.is_complex():
        return torch.view_as_real(output)
    return output if output.is_floating_point() else output.long()


def has_rows(output: Tensor, batch: int) -> bool:
    """Whether a tensor has one row for each input of a batch, ``(B, …)``."""
    return output.ndim > 1 and len(output) == batch


def columns(found: Mapping[str, Tensor], wanted: str, batch: int) -> slice | None:
    """The columns of ``side_by_side`` that hold an output; None if it is the only one.

    Args:
        found: The outputs that are compared.
        wanted: Name of one of them.
        batch: Size of the batch that the network has read.
    """
    if len(found) == 1:
        return None
    start = 0
    for name, x in found.items():
        width = x.numel() // batch * (2 if x.is_complex() else 1)
        if name == wanted:
            return slice(start, start + width)
        start += width
    return None
