"""A network of several inputs and outputs as a function from one tensor to one tensor."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from math import prod
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from ..maps import Shape
from .outputs import ALONE, Found, picked, side_by_side

FIRST = ""
"""Stands for the first argument of a module, given by position."""


@runtime_checkable
class OutputsByName(Protocol):
    """A module that tells its outputs apart."""

    def found(self, x: Tensor) -> Found:
        """The outputs by name, for a batch."""


class OneTensor(nn.Module):
    """A network as a function from one tensor to one tensor.

    Args:
        model: The network.
        varied: Shape of one input by the name of the argument that receives it. A single one is read as it is;
            several are the parts of one vector, flattened and side by side.
        fixed: Values of other arguments. Tensors are those of one input, without the batch, and repeated for a batch.
        outputs: Names of the outputs that count, as in ``picked``.
        batch: Number of images that the network reads at once, of which the last ones are repeated where they are
            fewer; 0 if that is free.
        before: What is done to single arguments, varied or fixed, before the network reads them, by name.
    """

    def __init__(
        self,
        model: nn.Module,
        varied: Mapping[str, Shape],
        fixed: Mapping[str, Any],
        outputs: Sequence[str] = (),
        batch: int = 0,
        before: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.before = nn.ModuleDict(before)
        self.model, self.batch = model, batch
        self.varied = dict(varied)
        self.outputs = tuple(outputs)
        self.places = places(model)
        self.numbers = {name: value for name, value in fixed.items() if not isinstance(value, Tensor)}
        self.tensors = [name for name in fixed if name not in self.numbers]
        for name in self.tensors:
            self.register_buffer(f"fixed_{name}", fixed[name], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to the outputs, as in ``side_by_side``."""
        return side_by_side(self.found(x).compared, len(x))

    def found(self, x: Tensor) -> Found:
        """The outputs by name, those of whole numbers included.

        Raises:
            ShapeError: The network reads a fixed number of images at once, and an output has no row for each.
        """
        return Found(self._rows(x) if self.batch else self._run(x), bool(self.outputs))

    def _rows(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs of a network that reads a fixed number of images at once."""
        parts = x.split(self.batch)
        runs = [self._run(torch.cat([part, *[part[-1:]] * (self.batch - len(part))])) for part in parts]
        for name, output in runs[0].items():
            if self.batch > 1 and output.shape[:1] != (self.batch,):
                raise ShapeError(f"the output {name} {tuple(output.shape)} has no row for each of {self.batch} inputs")
        return {name: torch.cat([_rows(run[name], self.batch) for run in runs])[: len(x)] for name in runs[0]}

    def _run(self, x: Tensor) -> dict[str, Tensor]:
        given = {**self._parts(x), **self.numbers, **{name: self._fixed(name, x) for name in self.tensors}}
        given.update((name, steps(given[name])) for name, steps in self.before.items())
        return picked(called(self.model, self.places, given), self.outputs)

    def _parts(self, x: Tensor) -> dict[str, Tensor]:
        if len(self.varied) == 1:
            return dict.fromkeys(self.varied, x)
        parts = x.split([prod(shape) for shape in self.varied.values()], 1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.varied.items(), parts, strict=True)}

    def _fixed(self, name: str, x: Tensor) -> Tensor:
        value: Tensor = getattr(self, f"fixed_{name}")
        value = value.to(x.dtype) if value.is_floating_point() else value
        return value.repeat(len(x), *[1] * value.ndim)


def found(module: nn.Module, x: Tensor) -> Found:
    """The outputs of a network by name, also of one behind its preprocessing."""
    *before, last = [*module.children()] if isinstance(module, nn.Sequential) and len(module) else [module]
    if not isinstance(last, OutputsByName):
        return Found({ALONE: module(x)})
    for part in before:
        x = part(x)
    return last.found(x)


def called(module: Callable[..., Any], places: Sequence[str], given: Mapping[str, Any]) -> Any:
    """What a module returns for arguments by name; the first ones are given by position, as ``torch.export`` demands.

    Args:
        module: The module.
        places: Names of its arguments by position, as ``places`` returns them.
        given: The arguments; ``FIRST`` stands for the first one.
    """
    rest = dict(given)
    first = [rest.pop(name) for name in ([FIRST] if FIRST in rest else list(takewhile(rest.__contains__, places)))]
    return module(*first, **rest)


def places(module: nn.Module) -> list[str]:
    """Names of the arguments that a module takes by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in signature(module).values() if p.kind in kinds]
    exported = getattr(module, "_in_spec", None)  # the arguments of a module of torch.export: by position, by name
    return names if exported is None else names[: exported.child(0).num_children]


def _rows(output: Tensor, batch: int) -> Tensor:
    """An output with one row for each image, also if that of a single image has no such axis."""
    return output if output.shape[:1] == (batch,) else output[None]


def signature(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    """Parameters of a module's ``forward``; none for code that Python cannot look into."""
    try:
        return inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return {}
