"""A network of several inputs and outputs as a function from one tensor to one tensor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import prod
from typing import Any

from torch import Tensor, nn

from ..maps import Shape
from .outputs import compared, side_by_side

FIRST = ""
"""Stands for the first argument of a module, given by position."""


class OneTensor(nn.Module):
    """A network as a function from one tensor to one tensor.

    Args:
        model: The network.
        varied: Shape of one input by the name of the argument that receives it. A single one is read as it is;
            several are the parts of one vector, flattened and side by side.
        fixed: Values of other arguments. Tensors are those of one input, without the batch, and repeated for a batch.
        outputs: Names of the outputs that are compared, as in ``compared``.
    """

    def __init__(
        self, model: nn.Module, varied: Mapping[str, Shape], fixed: Mapping[str, Any], outputs: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.model = model
        self.varied = dict(varied)
        self.outputs = tuple(outputs)
        parameters = signature(model).values()
        self.places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.numbers = {name: value for name, value in fixed.items() if not isinstance(value, Tensor)}
        self.tensors = [name for name in fixed if name not in self.numbers]
        for name in self.tensors:
            self.register_buffer(f"fixed_{name}", fixed[name], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to the outputs, as in ``side_by_side``."""
        return side_by_side(self.found(x), len(x))

    def found(self, x: Tensor) -> dict[str, Tensor]:
        """The outputs that are compared, by name."""
        given = {**self._parts(x), **self.numbers, **{name: self._fixed(name, x) for name in self.tensors}}
        # Modules of torch.export read by position alone.
        places = [FIRST] if FIRST in given else takewhile(given.__contains__, self.places)
        first = [given.pop(name) for name in list(places)]
        return compared(self.model(*first, **given), self.outputs)

    def _parts(self, x: Tensor) -> dict[str, Tensor]:
        if len(self.varied) == 1:
            return dict.fromkeys(self.varied, x)
        parts = x.split([prod(shape) for shape in self.varied.values()], 1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.varied.items(), parts, strict=True)}

    def _fixed(self, name: str, x: Tensor) -> Tensor:
        value: Tensor = getattr(self, f"fixed_{name}")
        value = value.to(x.dtype) if value.is_floating_point() else value
        return value.repeat(len(x), *[1] * value.ndim)


def signature(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    """Parameters of a module's ``forward``; none for code that Python cannot look into."""
    try:
        return inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return {}
