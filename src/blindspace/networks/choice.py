"""Which inputs of a network vary and which are held, and which outputs count, as a user asks for them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.array_files import ARRAYS, read_numbers
from ..data.image_files import read_image
from ..errors import ShapeError, UnknownNameError, ValueRangeError, shown
from ..maps import Shape
from ..maps.linear_map import as_shape
from .one_tensor import FIRST, signature


@dataclass(frozen=True, eq=False)
class Choice:
    """Which inputs and outputs of a network a user asks for.

    Attributes:
        varied: Shape of each input that varies by its name; None where it is not given.
        fixed: Values of other inputs.
        outputs: Names of outputs; all if empty.
    """

    varied: dict[str, Shape | None]
    fixed: dict[str, Any]
    outputs: tuple[str, ...]

    @classmethod
    def of(
        cls,
        vary: str | Sequence[str] | Mapping[str, Sequence[int]],
        fix: Mapping[str, Any] | None,
        output: str | Sequence[str],
    ) -> Choice:
        """The arguments of ``load``."""
        if not isinstance(fix or {}, Mapping):
            raise ValueRangeError(f"fix takes values by the names of inputs, {{'mask': …}}, got {shown(fix)}")
        for name, asked in (("vary", vary), ("output", output)):
            if not isinstance(asked, str | Sequence | Mapping):
                raise ValueRangeError(f"{name} takes names, such as {name}='logits', got {shown(asked)}")
        names = [vary] if isinstance(vary, str) else vary
        given = names if isinstance(names, Mapping) else dict.fromkeys(names, ())
        shapes = {str(key): as_shape(shape) if shape else None for key, shape in given.items()}
        fixed = {str(key): fixed_value(str(key), value) for key, value in (fix or {}).items()}
        return cls(shapes, fixed, (output,) if isinstance(output, str) else tuple(map(str, output)))

    @property
    def is_made(self) -> bool:
        """Whether the user asks for anything."""
        return bool(self.varied or self.fixed or self.outputs)

    @property
    def first_shape(self) -> Shape | None:
        """Shape of the first input that varies and has one; None if there is none."""
        return next((shape for shape in self.varied.values() if shape), None)


def fixed_value(name: str, given: Any) -> Any:
    """The value at which an argument is held.

    Args:
        name: Name of the argument.
        given: An array or tensor of one input, without the batch; a Python number or None, passed on as it is; or the
            path of a .npy, .npz or .safetensors file with one array, or of a picture, whose pixels are in [0, 1].
            Nothing is unpickled.

    Returns:
        A tensor, or a Python number for an array without axes.

    Raises:
        FileError: The file is missing, damaged, a pickle, or holds several arrays.
        ValueRangeError: The value is of another kind.
    """
    if isinstance(given, str | Path):
        path = Path(given)
        given = read_numbers(path) if path.suffix.lower() in ARRAYS else read_image(path)
    if isinstance(given, list | tuple | np.ndarray | np.generic):
        given = _tensor(name, given)
    if given is not None and not isinstance(given, bool | int | float | Tensor):
        raise ValueRangeError(f"{name} is held at an array, a number or a file, got {shown(given)}")
    return (given.detach() if given.ndim else given.item()) if isinstance(given, Tensor) else given


def _tensor(name: str, given: Any) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError) as error:
        raise ValueRangeError(f"{name} is held at an array of numbers, got {shown(given)}") from error


def arguments(module: nn.Module) -> dict[str, bool]:
    """Names of the arguments that a module's ``forward`` takes, each with whether it needs one.

    Names with stars are those that take whatever is left.
    """
    parameters = signature(module)
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    if not parameters:
        return {"*args": False, "**kwargs": False}
    return {
        stars.get(p.kind, "") + name: p.default is inspect.Parameter.empty and p.kind not in stars
        for name, p in parameters.items()
    }


def check_arguments(network: str, known: Mapping[str, bool], varied: Sequence[str], fixed: Sequence[str]) -> None:
    """Refuse names that a network does not have, and inputs that are left open.

    Args:
        network: Name of the network.
        known: Its arguments, as ``arguments`` returns them.
        varied: Names of the inputs that vary.
        fixed: Names of those held at a value.

    Raises:
        UnknownNameError: An argument does not exist; the message lists those that do.
        ValueRangeError: An input varies and is held.
        ShapeError: Inputs are left that the network needs.
    """
    plain = [name for name in known if not name.startswith("*")]
    for name in (*varied, *fixed):
        if name not in plain and name != FIRST and not any(star.startswith("**") for star in known):
            raise UnknownNameError(f"{network} reads no input {name!r}; there are {', '.join(plain)}")
    if both := [name for name in varied if name in fixed]:
        raise ValueRangeError(f"{', '.join(both)} cannot vary and be held at a value at once; choose one")
    left = [name for name, needed in known.items() if needed and name not in (*varied, *fixed)]
    if left:
        raise ShapeError(
            f"{network} also reads {', '.join(left)}; hold each at a value, --fix {left[0]}=FILE "
            f"(fix={{{left[0]!r}: …}}), or vary them jointly, --vary {varied[0]} --vary {left[0]}"
        )
