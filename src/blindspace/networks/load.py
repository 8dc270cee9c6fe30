"""Where networks come from: built-in names and modules of one's own. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..data import CLASSES
from ..errors import FileError, ShapeError, UnknownNameError
from ..files import sha256
from .builtin import BUILTIN, builtin
from .network import Network

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")


def load(
    model: str | nn.Module,
    input_shape: Sequence[int] | None = None,
    *,
    weights: Path | None = None,
    name: str | None = None,
) -> Network:
    """A network ready for auditing.

    Args:
        model: the name of a built-in network, or a module; the module is put in eval.
        input_shape: of one input, without the batch; needed for a module.
        weights: a ``.safetensors`` file for a built-in network instead of the shipped one, such as ``train`` writes.
        name: what a module is to be called; its class name if None.

    Raises:
        UnknownNameError: no built-in network of that name.
        ShapeError: a module without an input shape, or one that cannot read it.
        FileError: weights that are missing, damaged, a pickle, or of another network.
    """
    if isinstance(model, nn.Module):
        return _from_module(model, input_shape, name)
    if Path(model).suffix.lower() in PICKLES:
        raise FileError(f"{model} is a pickle, which can run code; save the weights as .safetensors")
    if model not in BUILTIN:
        raise UnknownNameError(
            f"no network is called {model!r}; built in are {', '.join(BUILTIN)}; in Python a torch module is taken too"
        )
    network = builtin(model)
    module = network.build()
    if weights is not None:
        card = _read_weights(module, Path(weights), model)
    else:
        with as_file(files(__package__) / "weights" / f"{model}.safetensors") as path:
            card = _read_weights(module, path, model)
    module.eval()
    return Network(model, module, network.input_shape, CLASSES[network.recipe.dataset], card)


def _from_module(module: nn.Module, input_shape: Sequence[int] | None, name: str | None) -> Network:
    if input_shape is None:
        raise ShapeError(
            f"a {type(module).__name__} needs the shape of one input: load(module, input_shape=(3, 32, 32))"
        )
    network = Network(name or type(module).__name__, module.eval(), tuple(int(n) for n in input_shape))
    try:
        network.outputs(torch.zeros(1, *network.input_shape))
    except Exception as error:  # user code may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ShapeError(f"{network.name} cannot read an input of shape {network.input_shape}: {reason}") from error
    return network


def _read_weights(module: nn.Module, path: Path, name: str) -> dict[str, object]:
    """Fill a built-in network from a file; the card beside it, whose hash must be the file's."""
    if path.suffix != ".safetensors":
        raise FileError(f"{path} is no .safetensors file; 'blindspace train {name}' writes one")
    if not path.is_file():
        raise FileError(f"{path} does not exist; 'blindspace train {name}' writes one")
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"{path} is damaged or not of {name} ({reason})") from error
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        return {}
    try:
        card = json.loads(card_path.read_text())
    except (ValueError, OSError) as error:
        raise FileError(f"the card {card_path} is damaged; delete it to go without") from error
    if not isinstance(card, dict):
        raise FileError(f"the card {card_path} is damaged; delete it to go without")
    if card.get("sha256") != sha256(path):
        raise FileError(f"{path} is not the file its card {card_path.name} describes: the hashes differ")
    return card
