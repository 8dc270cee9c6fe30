"""Loading of networks: built-in names, torch modules, libraries and files; never a pickle."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import nn

from ..data import CLASSES
from ..errors import FileError, ShapeError, UnknownNameError, first_line
from ..files import home, sha256
from ..maps import Shape
from ..maps.linear_map import as_shape
from .builtin import BUILTIN
from .network import Network
from .paper_networks import PAPER, is_trainable, trainable
from .sources.factory import from_factory, is_factory, load_weights, seeded
from .sources.huggingface import from_huggingface
from .sources.preprocessing import output_shape, preprocessing
from .sources.raw_model import RawModel, Steps
from .sources.timm_torchvision import from_timm, from_torchvision
from .sources.torch_export import from_torch_export

PICKLES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
OTHERS = (".h5", ".hdf5", ".keras", ".pb", ".tflite", ".caffemodel", ".mlmodel", ".gguf")
"""Suffixes of network files that are not supported."""

FORMS = (
    "timm:NAME, torchvision:NAME, hf:NAME, package.module:function with --weights, and files .onnx, .onnx.gz and .pt2"
)


def load(
    model: str | Path | nn.Module | Network,
    input_shape: Sequence[int] | None = None,
    *,
    weights: str | Path | None = None,
    name: str | None = None,
    preprocess: str | Path | None = None,
    random_weights: bool = False,
) -> Network:
    """Load a network.

    A network of timm, torchvision or transformers reads images in [0, 1]: the mean and standard deviation of its config
    are applied by a layer in front of it. With ``preprocess`` the whole preprocessing is applied instead, and the
    input is a photograph ``(3, H, W)`` in [0, 1] of the given shape. The preprocessing computes in real numbers;
    programs that resize with Pillow also round to eight bits and clip (see ``sources/preprocessing.py``).

    Args:
        model: The network to load.

            - a built-in name, one of the paper's networks that ``train`` has trained, a module, which is put in eval,
              or a ``Network``, which is returned unchanged;
            - ``timm:NAME``, ``torchvision:NAME``: an architecture of that library;
            - ``hf:FOLDER``, ``hf:ORGANISATION/NAME`` (in the local cache) or ``hf:TYPE``, of transformers;
            - ``package.module:function``: the result of an installed function; importing executes it, so name only
              code that you trust;
            - a path to a ``.onnx``, ``.onnx.gz`` or ``.pt2`` file.

            Options of architectures are given in brackets: ``hf:dinov2[hidden_size=384,num_attention_heads=6]``.
        input_shape: Shape of one input, without the batch; needed for a module, and for photographs to be resized.
        weights: A ``.safetensors`` file; for a built-in network instead of the shipped one, such as ``train`` writes.
        name: Name of the network in reports.
        preprocess: "timm", "torchvision" or "hf" for the published preprocessing, a ``preprocessor_config.json``, or
            spelled out, such as "resize 256 bicubic, center-crop 224, normalise imagenet" (see
            ``sources.preprocessing.parse``).
        random_weights: Whether to take an architecture alone, with random weights of a fixed seed.

    Raises:
        UnknownNameError: Nothing has that name.
        MissingExtraError: The library of the network is not installed.
        ShapeError: The shape is missing, or the network cannot read it.
        FileError: A file is missing, damaged, a pickle, or belongs to another network; or there are no weights.
        ValueRangeError: Options cannot be read, or the network cannot be built with them.
        UnsupportedLayerError: A part of the network is not supported.
    """
    for option, given in (("weights", weights), ("preprocess", preprocess)):
        if not isinstance(given, str | Path | None):
            raise FileError(f"{option} must be a string or a path, got {type(given).__name__}")
    weights, preprocess = None if weights is None else Path(weights), None if preprocess is None else str(preprocess)
    shape = None if input_shape is None else as_shape(input_shape)
    if isinstance(model, Network):
        return _unchanged(model, shape, weights, name, preprocess, random_weights)
    if not isinstance(model, str | Path | nn.Module):
        raise UnknownNameError(f"a network is loaded from a name, a path or a torch module, got {type(model).__name__}")
    path = Path(model) if isinstance(model, str | Path) else None
    if path is not None and path.name.lower().endswith((".onnx", ".onnx.gz")):
        _refuse(weights, random_weights, path.name)
        return _from_onnx(path, shape, name, preprocess)
    source = _source(model, shape, weights, random_weights)
    source = source if name is None else replace(source, name=name)
    steps = source.normalise if preprocess is None else preprocessing(preprocess, source)
    return _network(source, shape, steps, resized=steps is not source.normalise)


def _unchanged(
    network: Network,
    shape: Shape | None,
    weights: Path | None,
    name: str | None,
    preprocess: str | None,
    random_weights: bool,
) -> Network:
    """A network that has been loaded already, under another name if one is given."""
    _refuse(weights, random_weights, network.name)
    if preprocess is not None:
        raise FileError(f"{network.name} has its preprocessing already; load it with preprocess={preprocess!r} instead")
    if shape is not None and shape != network.input_shape:
        raise ShapeError(f"{network.name} reads inputs of shape {network.input_shape}, not {shape}")
    return network if name is None else replace(network, name=name)


def _source(
    model: str | Path | nn.Module, input_shape: Shape | None, weights: Path | None, random_weights: bool
) -> RawModel:
    if isinstance(model, nn.Module):
        _refuse(weights, random_weights, f"a {type(model).__name__}")
        return RawModel(type(model).__name__, model)
    name = str(model)
    suffix = Path(name).suffix.lower()
    if is_trainable(name):
        return _builtin(name, weights, random_weights)
    match name.split(":")[0] if ":" in name else "":
        case "timm":
            return from_timm(name, weights, random_weights)
        case "torchvision":
            return from_torchvision(name, weights, random_weights)
        case "hf":
            return from_huggingface(name, input_shape, weights, random_weights)
    if is_factory(name):
        return from_factory(name, input_shape, weights, random_weights)
    if suffix in PICKLES:
        raise FileError(f"{name} is a pickle, which can run code; save the weights as .safetensors")
    if suffix in OTHERS:
        raise FileError(f"{name} is of a kind not read here; convert it to .onnx")
    if suffix == ".safetensors":
        raise FileError(
            f"{name} contains weights only; give the function that builds the network: package.module:function "
            f"--weights {name}"
        )
    if suffix == ".pt2":
        _refuse(weights, random_weights, name)
        return from_torch_export(Path(name))
    raise UnknownNameError(
        f"no network is called {name!r}; built in are {', '.join(BUILTIN)}; to be trained first {', '.join(PAPER)}; "
        f"others are {FORMS}; Python also accepts a torch module"
    )


def _refuse(weights: Path | None, random_weights: bool, name: str) -> None:
    """Refuse weights for a network that has its own, instead of ignoring them silently."""
    if weights is not None or random_weights:
        raise FileError(f"{name} has its own weights; leave {'--random-weights' if random_weights else weights} out")


def _network(source: RawModel, input_shape: Shape | None, steps: Steps, resized: bool) -> Network:
    """The network behind its preprocessing, tested on one input."""
    shape = _of_images(source.name, input_shape) if resized else input_shape or source.input_shape
    if shape is None:
        raise ShapeError(f"a {source.name} needs the shape of one input: load(module, input_shape=(3, 32, 32))")
    read = output_shape(steps, shape)
    module = _behind(steps, source.module)
    network = Network(source.name, module, shape, source.classes, source.card, source.space)
    try:
        network.outputs(torch.zeros(1, *shape))
    except Exception as error:  # Code of others may raise anything.
        between = f", which the preprocessing makes of {shape}" if read != shape else ""
        meant = f"; it was made for {source.input_shape}" if source.input_shape not in (None, read) else ""
        raise ShapeError(
            f"{source.name} cannot read an input of shape {read}{between}: {first_line(error)}{meant}"
        ) from error
    return network


def _of_images(name: str, input_shape: Shape | None) -> Shape:
    """The shape of the images to be resized, which only the user knows."""
    if input_shape is None:
        raise ShapeError(
            f"with a preprocessing, {name} needs the shape of the images: --input-shape 3x480x640 "
            "(input_shape=(3, 480, 640))"
        )
    return input_shape


def _behind(steps: Steps, module: nn.Module) -> nn.Module:
    """The module in eval, behind its preprocessing if it has one."""
    if steps:
        module = nn.Sequential(OrderedDict(preprocessing=nn.Sequential(*steps), network=module))
    with suppress(NotImplementedError):  # a module of torch.export refuses eval(); its mode is that of the export
        module.eval()
    return module


def _from_onnx(path: Path, input_shape: Shape | None, name: str | None, preprocess: str | None) -> Network:
    from .onnx.network import load_onnx

    if preprocess is None:
        return load_onnx(path, name, input_shape)
    steps = preprocessing(preprocess, RawModel(path.name, nn.Identity()))
    shape = _of_images(path.name, input_shape)
    network = load_onnx(path, name, output_shape(steps, shape))
    return replace(network, module=_behind(steps, network.module), input_shape=shape, space="")


def _builtin(name: str, weights: Path | None, random_weights: bool) -> RawModel:
    network = trainable(name)
    with seeded():
        module = network.build()
    card: dict[str, object] = {}
    if weights is not None:
        card = _read_weights(module, weights, name)
    elif not random_weights and name not in BUILTIN:
        card = _read_weights(module, home() / "networks" / f"{name}.safetensors", name)
    elif not random_weights:
        with as_file(files(__package__) / "weights" / f"{name}.safetensors") as path:
            card = _read_weights(module, path, name)
    return RawModel(name, module, network.input_shape, classes=CLASSES[network.recipe.dataset], card=card)


def _read_weights(module: nn.Module, path: Path, name: str) -> dict[str, object]:
    """Load a file into a built-in network; returns the card beside it, whose hash must be that of the file."""
    load_weights(module, path, name, f"; 'blindspace train {name}' writes one")
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        return {}
    try:
        card = json.loads(card_path.read_text())
        if not isinstance(card, dict):
            raise TypeError(f"holds a {type(card).__name__}")
    except (ValueError, TypeError, OSError) as error:
        raise FileError(f"the card {card_path} is damaged; delete it to go without") from error
    if card.get("sha256") != sha256(path):
        raise FileError(f"{path} is not the file its card {card_path.name} describes: the hashes differ")
    return card
