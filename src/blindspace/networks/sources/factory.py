"""Architectures made by code that the user names, and weights put into them from a .safetensors file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...errors import FileError, MissingExtraError, UnknownNameError, ValueRangeError, first_line
from ...maps import Shape
from .source import Source

SEED = 0
"""Of random weights."""

_NAMED = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)")

LISTED = 3
"""How many names of weights a message holds."""


def split_options(model: str) -> tuple[str, dict[str, Any]]:
    """``NAME[key=value,other=value]`` apart; values are JSON, or words where they are not.

    Raises:
        ValueRangeError: what stands in the brackets is no list of ``key=value``.
    """
    name, bracket, inside = model.partition("[")
    if not bracket:
        return model, {}
    # A comma begins the next option where a key follows; others belong to a list.
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
    """Whether a name is ``package.module:function``, options aside."""
    return _NAMED.fullmatch(model.partition("[")[0]) is not None


def from_factory(model: str, input_shape: Shape | None, weights: Path | None, random_weights: bool) -> Source:
    """A network that an installed function makes.

    Args:
        model: ``package.module:function``, with options such as ``[width=2]`` to call it with. The module is imported
            and the function called: name only code that you trust.
        input_shape: of one input.
        weights: a ``.safetensors`` file of its state.
        random_weights: take them as the function leaves them.

    Raises:
        UnknownNameError: no such module or function.
        ValueRangeError: the function fails, or makes no module.
        FileError: no weights, or of another network.
    """
    name, options = split_options(model)
    match = _NAMED.fullmatch(name)
    assert match is not None
    try:
        function: Any = import_module(match["module"])
    except Exception as error:  # the user's module may raise anything
        raise UnknownNameError(
            f"the module {match['module']} of {name} cannot be imported ({first_line(error)}); "
            "install it or set PYTHONPATH"
        ) from error
    for part in match["attribute"].split("."):
        if not hasattr(function, part):
            raise UnknownNameError(f"{match['module']} has no {match['attribute']}; give package.module:function")
        function = getattr(function, part)
    module = made(model, lambda: function(**options))
    if not isinstance(module, nn.Module):
        raise ValueRangeError(
            f"{name} made a {type(module).__name__}, not a torch.nn.Module; name a function that makes one"
        )
    weigh(module, model, weights, random_weights)
    return Source(model, module, input_shape)


def made(model: str, build: Callable[[], Any]) -> Any:
    """What a function of others builds, from a seed of its own so that random weights are the same each time.

    Raises:
        ValueRangeError: it fails; the message has the reason.
    """
    try:
        with seeded():
            return build()
    except MissingExtraError:
        raise
    except Exception as error:  # others' code may raise anything
        raise ValueRangeError(f"{model} cannot be built: {first_line(error)}") from error


@contextmanager
def seeded() -> Iterator[None]:
    """While random weights are drawn; the generators of whoever calls are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def weigh(module: nn.Module, model: str, weights: Path | None, random_weights: bool) -> None:
    """Weights from a file, or as the module has them if random ones are wanted.

    Raises:
        FileError: neither was asked for, or the file is none or of another network.
    """
    if weights is not None:
        fill(module, weights, model)
    elif not random_weights:
        raise FileError(
            f"no weights for {model}; give a .safetensors file by --weights (weights=…), "
            "or say --random-weights (random_weights=True) for the architecture alone"
        )


def fill(module: nn.Module, path: Path, name: str, remedy: str = "") -> None:
    """Put the weights of a ``.safetensors`` file into a module; all of them, and nothing else may be in the file.

    Args:
        module: to be filled.
        path: of the file.
        name: of the network.
        remedy: what to say of a file that is none.

    Raises:
        FileError: it is missing, damaged or of another network; the message names some of the weights that differ.
    """
    if path.suffix != ".safetensors":
        raise FileError(
            f"{path} is no .safetensors file{remedy or '; save the weights with safetensors.torch.save_file'}"
        )
    if not path.is_file():
        raise FileError(f"{path} does not exist{remedy or '; give the .safetensors file of ' + name}")
    try:
        state = load_file(path)
        shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        differ = [
            f"{key} {tuple(value.shape)} for {shapes[key]}"
            for key, value in state.items()
            if key in shapes and tuple(value.shape) != shapes[key]
        ]
        if not differ:
            found = module.load_state_dict(state, strict=False)
            missing, unknown = found.missing_keys, found.unexpected_keys
    except (SafetensorError, RuntimeError, OSError) as error:
        raise FileError(f"{path} is damaged or not of {name} ({first_line(error)})") from error
    if differ:
        raise FileError(f"{path} is damaged or not of {name} ({_some('of another shape', differ)})")
    if missing or unknown:
        reasons = "; ".join(filter(None, [_some("missing", missing), _some("not known to it", unknown)]))
        raise FileError(f"{path} is damaged or not of {name} ({reasons})")


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} {what}: {', '.join(names[:LISTED])}{', …' * (len(names) > LISTED)}"
