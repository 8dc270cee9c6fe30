"""Where networks come from: built-in names, modules of one's own, libraries and files. Never a pickle."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from operator import index
from pathlib import Path

import torch
from torch import nn

from ..data import CLASSES
from ..errors import FileError, ShapeError, UnknownNameError, first_line
from ..files import home, sha256
from ..maps import Shape
from .builtin import BUILTIN
from .network import Network
from .paper_networks import PAPER, is_known, known
from .sources.exported import from_exported
from .sources.factory import fill, from_factory, is_factory, seeded
from .sources.hubs import from_timm, from_torchvision
from .sources.huggingface import from_huggingface
from .sources.preprocess import made_of, preprocessing
from .sources.source import Source, Steps

PICKLES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
OTHERS = (".h5", ".hdf5", ".keras", ".pb", ".tflite", ".caffemodel", ".mlmodel", ".gguf")
"""Files of networks that are not read here."""

FORMS = (
    "timm:NAME, torchvision:NAME, hf:NAME, package.module:function with --weights, and files .onnx, .onnx.gz and .pt2"
)


def load(
    model: str | Path | nn.Module | Network,
    input_shape: Sequence[int] | None = None,
    *,
    weights: Path | None = None,
    name: str | None = None,
    preprocess: str | None = None,
    random_weights: bool = False,
) -> Network:
    """A network ready for auditing.

    A network of timm, torchvision or transformers takes images in [0, 1]: where its config has a mean and a standard
    deviation, they stand in front of it. With ``preprocess`` all of that preprocessing stands there instead, and the
    input is a photograph ``(3, H, W)`` in [0, 1] of the shape given. What stands in front is meant in real numbers;
    programs that resize with Pillow round to eight bits, and clip, as they do (see ``preprocess``).

    Args:
        model: what is to be loaded.

            - a built-in name, one of the paper's that ``train`` has made, or a module, which is put in eval;
            - ``timm:NAME``, ``torchvision:NAME``: an architecture of that library;
            - ``hf:FOLDER``, ``hf:ORGANISATION/NAME`` (in the local cache) or ``hf:TYPE``, of transformers;
            - ``package.module:function``: what an installed function makes; importing runs it, so name only what you
              trust;
            - a path to a ``.onnx``, ``.onnx.gz`` or ``.pt2`` file.

            Options for those made by name stand in brackets: ``hf:dinov2[hidden_size=384,num_attention_heads=6]``.
        input_shape: of one input, without the batch; needed for a module, and for photographs to be resized.
        weights: a ``.safetensors`` file; for a built-in network instead of the shipped one, such as ``train`` writes.
        name: what it is to be called.
        preprocess: "timm", "torchvision" or "hf" for what the network came with, a ``preprocessor_config.json``, or
            spelled out, such as "resize 256 bicubic, center-crop 224, normalise imagenet" (see ``preprocess.parse``).
        random_weights: take an architecture alone, with random weights of a fixed seed.

    Raises:
        UnknownNameError: nothing of that name.
        MissingExtraError: the library that makes it is not installed.
        ShapeError: the shape is missing, or the network cannot read it.
        FileError: a file that is missing, damaged, a pickle, or of another network; no weights.
        ValueRangeError: options that cannot be read, or with which the network cannot be built.
        UnsupportedLayerError: something about it that is not done here.
    """
    shape = None if input_shape is None else _shape(input_shape)
    if isinstance(model, Network):
        return _unchanged(model, shape, weights, name, preprocess, random_weights)
    if not isinstance(model, str | Path | nn.Module):
        raise UnknownNameError(f"a network is loaded from a name, a path or a torch module, got {type(model).__name__}")
    path = Path(model) if isinstance(model, str | Path) else None
    if path is not None and path.name.lower().endswith((".onnx", ".onnx.gz")):
        _refuse(weights, random_weights, path.name)
        return _from_onnx(path, shape, name, preprocess)
    source = _source(model, shape, None if weights is None else Path(weights), random_weights)
    source = source if name is None else replace(source, name=name)
    steps = source.normalise if preprocess is None else preprocessing(preprocess, source)
    return _network(source, shape, steps, resized=steps is not source.normalise)


def _shape(given: Sequence[int]) -> Shape:
    try:
        return tuple(index(n) for n in given)
    except TypeError as error:
        raise ShapeError(f"an input shape is a sequence of integers such as (3, 224, 224), got {given!r}") from error


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
) -> Source:
    if isinstance(model, nn.Module):
        _refuse(weights, random_weights, f"a {type(model).__name__}")
        return Source(type(model).__name__, model)
    name = str(model)
    suffix = Path(name).suffix.lower()
    if is_known(name):
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
            f"{name} holds weights without a network; give what makes it: package.module:function --weights {name}"
        )
    if suffix == ".pt2":
        _refuse(weights, random_weights, name)
        return from_exported(Path(name))
    raise UnknownNameError(
        f"no network is called {name!r}; built in are {', '.join(BUILTIN)}; to be trained first "
        f"{', '.join(PAPER)}; others are {FORMS}; "
        "in Python a torch module is taken too"
    )


def _refuse(weights: Path | None, random_weights: bool, name: str) -> None:
    """Of what has its own weights, others would be left out silently."""
    if weights is not None or random_weights:
        raise FileError(f"{name} has its own weights; leave {'--random-weights' if random_weights else weights} out")


def _network(source: Source, input_shape: Shape | None, steps: Steps, resized: bool) -> Network:
    """The network with its preprocessing in front, tried on one input."""
    shape = _of_images(source.name, input_shape) if resized else input_shape or source.input_shape
    if shape is None:
        raise ShapeError(f"a {source.name} needs the shape of one input: load(module, input_shape=(3, 32, 32))")
    made = made_of(steps, shape)
    module = _in_front(steps, source.module.eval())
    network = Network(source.name, module, shape, source.classes, source.card, source.space)
    try:
        network.outputs(torch.zeros(1, *shape))
    except Exception as error:  # others' code may raise anything
        between = f", which the preprocessing makes of {shape}" if made != shape else ""
        meant = f"; it was made for {source.input_shape}" if source.input_shape not in (None, made) else ""
        raise ShapeError(
            f"{source.name} cannot read an input of shape {made}{between}: {first_line(error)}{meant}"
        ) from error
    return network


def _of_images(name: str, input_shape: Shape | None) -> Shape:
    """The shape that is to be resized, which no network can know."""
    if input_shape is None:
        raise ShapeError(
            f"with a preprocessing, {name} needs the shape of the images: --input-shape 3x480x640 "
            "(input_shape=(3, 480, 640))"
        )
    return input_shape


def _in_front(steps: Steps, module: nn.Module) -> nn.Module:
    if not steps:
        return module
    return nn.Sequential(OrderedDict(preprocessing=nn.Sequential(*steps), network=module)).eval()


def _from_onnx(path: Path, input_shape: Shape | None, name: str | None, preprocess: str | None) -> Network:
    from .onnx.network import load_onnx

    if preprocess is None:
        return load_onnx(path, name, input_shape)
    steps = preprocessing(preprocess, Source(path.name, nn.Identity()))
    shape = _of_images(path.name, input_shape)
    network = load_onnx(path, name, made_of(steps, shape))
    return replace(network, module=_in_front(steps, network.module), input_shape=shape, space="")


def _builtin(name: str, weights: Path | None, random_weights: bool) -> Source:
    network = known(name)
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
    return Source(name, module, network.input_shape, classes=CLASSES[network.recipe.dataset], card=card)


def _read_weights(module: nn.Module, path: Path, name: str) -> dict[str, object]:
    """Fill a built-in network from a file; the card beside it, whose hash must be the file's."""
    fill(module, path, name, f"; 'blindspace train {name}' writes one")
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
