"""Architectures built by a function that the user names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import FileError, MissingExtraError, UnknownNameError, ValueRangeError, first_line
from ...maps import Shape
from .raw_model import RawModel
from .weights import load_weights

SEED = 0
"""Seed of random weights."""

_NAMED = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)")


def split_options(model: str) -> tuple[str, dict[str, Any]]:
    """Split ``NAME[key=value,other=value]`` into the name and the options; values are JSON, or else strings.

    Raises:
        ValueRangeError: The brackets do not contain a list of ``key=value``.
    """
    name, bracket, inside = model.partition("[")
    if not bracket:
        return model, {}
    # A comma begins the next option if a key follows; other commas belong to a list.
    parts = re.split(r",\s*(?=[A-Za-z_]\w*\s*=)", inside.removesuffix("]")) if inside != "]" else []
    options = {}
    for part in parts:
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not inside.endswith("]"):
            raise ValueRangeError(f"the options of {model!r} cannot be read; write {name}[key=value,other=value]")
        try:
            options[key] = json.loads(text)
        except ValueError:
            options[key] = text
    return name, options


def is_factory(model: str) -> bool:
    """Whether a name is ``package.module:function``, apart from options."""
    return _NAMED.fullmatch(model.partition("[")[0]) is not None


def from_factory(model: str, input_shape: Shape | None, weights: Path | None, random_weights: bool) -> RawModel:
    """A network built by an installed function.

    Args:
        model: ``package.module:function``, with options such as ``[width=2]`` as its arguments. The module is imported
            and the function called: name only code that you trust.
        input_shape: Shape of one input.
        weights: Its state, as ``weights.load_weights`` reads it.
        random_weights: Whether to keep the weights that the function returns.
    """
    name, options = split_options(model)
    match = _NAMED.fullmatch(name)
    assert match is not None
    try:
        function: Any = import_module(match["module"])
    except Exception as error:  # The user's module may raise anything.
        raise UnknownNameError(
            f"the module {match['module']} of {name} cannot be imported ({first_line(error)}); "
            "install it or set PYTHONPATH"
        ) from error
    for part in match["attribute"].split("."):
        if not hasattr(function, part):
            raise UnknownNameError(f"{match['module']} has no {match['attribute']}; give package.module:function")
        function = getattr(function, part)
    module = build(model, lambda: function(**options))
    if not isinstance(module, nn.Module):
        raise ValueRangeError(
            f"{name} returned a {type(module).__name__}, not a torch.nn.Module; name a function that returns one"
        )
    assign_weights(module, model, weights, random_weights)
    return RawModel(model, module, input_shape)


def build(model: str, function: Callable[[], Any]) -> Any:
    """The result of a function of another library, called with a fixed seed so that random weights are reproducible.

    Raises:
        ValueRangeError: The function fails; the message repeats the reason.
    """
    try:
        with seeded():
            return function()
    except MissingExtraError:
        raise
    except Exception as error:  # Code of others may raise anything.
        raise ValueRangeError(f"{model} cannot be built: {first_line(error)}") from error


@contextmanager
def seeded() -> Iterator[None]:
    """Context in which random weights are drawn from a fixed seed; the caller's generators stay unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def assign_weights(module: nn.Module, model: str, weights: Path | None, random_weights: bool) -> None:
    """Load weights from a file, or keep the random ones of the module if that is requested."""
    if weights is not None:
        load_weights(module, weights, model)
    elif not random_weights:
        raise FileError(
            f"no weights for {model}; give a .safetensors file by --weights (weights=…), "
            "or say --random-weights (random_weights=True) for the architecture alone"
        )
