"""Loading of networks: built-in names, torch modules, libraries and files; never a pickle."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import as_file, files
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..data import CLASSES
from ..errors import (
    FileError,
    ShapeError,
    UnknownNameError,
    ValueRangeError,
    did_you_mean,
    first_line,
    shown,
    within_memory,
)
from ..files import home, sha256
from ..maps import Shape
from ..maps.linear_map import as_device, as_shape
from .autoencoders import AUTOENCODERS
from .builtin import BUILTIN
from .choice import Choice, arguments, check_arguments
from .labels import Declared
from .network import Network
from .one_tensor import FIRST, OneTensor
from .outputs import ALONE, Found, has_rows
from .paper_networks import PAPER
from .precisions import parameter_dtype
from .small_networks import SMALL
from .sources.batches import check_rows
from .sources.exported_program import from_module
from .sources.factory import from_factory, is_factory, seeded
from .sources.huggingface import from_huggingface
from .sources.integers import check_integers
from .sources.preprocessing import output_shape, preprocessing
from .sources.raw_model import RawModel, Steps
from .sources.timm_torchvision import from_timm, from_torchvision
from .sources.torch_export import from_torch_export
from .sources.weights import load_weights
from .trainable import find_trainable, trainable

PICKLES = (".pt", ".pth", ".th", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
OTHERS = (".h5", ".hdf5", ".keras", ".pb", ".tflite", ".caffemodel", ".mlmodel", ".gguf", ".ort")
"""Suffixes of network files that are not supported."""

FORMS = (
    "timm:NAME, torchvision:NAME, hf:NAME, package.module:function with --weights, and files .onnx, .onnx.gz and .pt2"
)


@within_memory("give a smaller input shape or network")
def load(
    model: str | Path | nn.Module | ExportedProgram | Network,
    input_shape: Sequence[int] | None = None,
    *,
    weights: str | Path | None = None,
    name: str | None = None,
    preprocess: str | Path | None = None,
    random_weights: bool = False,
    vary: str | Sequence[str] | Mapping[str, Sequence[int]] = (),
    fix: Mapping[str, Any] | None = None,
    output: str | Sequence[str] = (),
    session: Mapping[str, str] | None = None,
    float_meaning: bool = False,
    labels: str | None = None,
    device: torch.device | str | None = None,
) -> Network:
    """Load a network.

    A network of several inputs is a function of those that vary: the others are held at given values. What several
    varying inputs have in common is one vector, in which they stand flattened and side by side. All outputs are
    followed and compared, or those that are named.

    A network of timm, torchvision or transformers reads images in [0, 1]: the mean and standard deviation of its config
    are applied by a layer in front of it. With ``preprocess`` the whole preprocessing is applied instead, and the
    input is a photograph ``(3, H, W)`` in [0, 1] of the given shape. The preprocessing computes in real numbers;
    programs that resize with Pillow also round to eight bits and clip (see ``sources/preprocessing.py``).

    Args:
        model: The network to load.

            - a built-in name, another network that ``train`` has trained, a module, which is put in eval,
              a program of ``torch.export``, or a ``Network``, which is returned unchanged;
            - ``timm:NAME``, ``torchvision:NAME``: an architecture of that library;
            - ``hf:FOLDER``, ``hf:ORGANISATION/NAME`` (in the local cache) or ``hf:TYPE``, of transformers;
            - ``package.module:function``: the result of an installed function; importing executes it, so name only
              code that you trust;
            - a path to a ``.onnx``, ``.onnx.gz`` or ``.pt2`` file.

            Options of architectures are given in brackets: ``hf:dinov2[hidden_size=384,num_attention_heads=6]``.
        input_shape: Shape of one input, without the batch; needed for a module that was not exported, and for
            photographs to be resized.
        weights: A ``.safetensors`` file, an index of several or their folder; for a built-in network instead of the
            shipped file, such as ``train`` writes.
        name: Name of the network in reports.
        preprocess: "timm", "torchvision" or "hf" for the published preprocessing, a ``preprocessor_config.json``, or
            spelled out, such as "resize 256 bicubic, center-crop 224, normalise imagenet" (see
            ``sources.preprocessing.parse``).
        random_weights: Whether to take an architecture alone, with random weights of a fixed seed.
        vary: Names of the inputs that vary, perhaps with the shape of each, without the batch; ``input_shape`` serves
            those without one. The one that the source knows, or the first argument, if empty.
        fix: Values of other inputs by name, such as masks and token ids: an array or tensor of one input, without the
            batch; a Python number, passed on as it is; or a path, as in ``one_tensor.fixed_value``.
        output: Names of the outputs that count, such as ``logits``, ``0`` or ``features.1``; all if empty.
        session: Options of the runtime's session of an ONNX file, as ``onnx.network.load_onnx`` takes them.
        float_meaning: Whether a quantised ONNX file is read without its roundings.
        labels: What decides about the label of an input: "argmax", the largest of several outputs; "sign", that of a
            single one; or "none". By the rule of ``labels.py`` if None.
        device: Device of the images that are made or read for the network, such as "cuda"; the CPU if None. Where
            images are given, the work is done where they lie.

    Raises:
        UnknownNameError: Nothing has that name; nor has an input or output.
        MissingExtraError: The library of the network is not installed.
        ShapeError: The shape is missing, or the network cannot read it.
        FileError: A file is missing, damaged, a pickle, or belongs to another network; or there are no weights.
        ValueRangeError: Options cannot be read, the network cannot be built with them, or has no such labels.
        UnsupportedLayerError: A part of the network is not supported.
        TooLargeError: Memory does not suffice for the network or one of its inputs.
        BlindspaceError: There is no such device.

    Examples:
        >>> import torch, blindspace as bs
        >>> bs.load("mnist-mlp").input_shape
        (1, 28, 28)
        >>> bs.load(torch.nn.Linear(4, 2), (4,)).space
        'features'
    """
    for option, given in (("weights", weights), ("preprocess", preprocess)):
        if not isinstance(given, str | Path | None):
            raise FileError(f"{option} must be a string or a path, got {type(given).__name__}")
    weights, preprocess = None if weights is None else Path(weights), None if preprocess is None else str(preprocess)
    shape = None if input_shape is None else as_shape(input_shape)
    asked, declared = Choice.of(vary, fix, output), Declared.by_user(labels)
    place = None if device is None else as_device(device)
    if isinstance(model, Network):
        network = _unchanged(model, shape, weights, name, preprocess, random_weights, asked)
        return _settled(network, declared, place)
    if not isinstance(model, str | Path | nn.Module | ExportedProgram):
        raise UnknownNameError(f"a network is loaded from a name, a path or a torch module, got {type(model).__name__}")
    path = Path(model) if isinstance(model, str | Path) else None
    if path is not None and path.name.lower().endswith((".onnx", ".onnx.gz")):
        _refuse(weights, random_weights, path.name)
        return _settled(_from_onnx(path, shape, name, preprocess, asked, session, float_meaning), declared, place)
    if session or float_meaning:
        raise ValueRangeError(f"session and float_meaning are options of ONNX files, which {shown(str(model))} is not")
    source = _source(model, shape, weights, random_weights)
    source = source if name is None else replace(source, name=name)
    steps = source.normalise() if preprocess is None else preprocessing(preprocess, source, asked.first_shape or shape)
    return _settled(_network(source, shape, steps, preprocess is not None, asked), declared, place)


def _settled(network: Network, declared: Declared, device: torch.device | None) -> Network:
    """The network with the kind of labels that the user states, if any, and the device."""
    network = network if device in (None, network.device) else replace(network, device=device)
    if not declared.kind:
        return network
    network = replace(network, declared=declared)
    _ = network.labelling  # raises where the outputs have no such labels
    return network


def _unchanged(
    network: Network,
    shape: Shape | None,
    weights: Path | None,
    name: str | None,
    preprocess: str | None,
    random_weights: bool,
    asked: Choice,
) -> Network:
    """A network that has been loaded already, under another name if one is given."""
    _refuse(weights, random_weights, network.name)
    if asked.is_made:
        raise ValueRangeError(f"{network.name} has its inputs and outputs already; choose them where it is loaded")
    if preprocess is not None:
        raise FileError(f"{network.name} has its preprocessing already; load it with preprocess={preprocess!r} instead")
    if shape is not None and shape != network.input_shape:
        raise ShapeError(f"{network.name} reads inputs of shape {network.input_shape}, not {shape}")
    return network if name is None else replace(network, name=name)


def _source(
    model: str | Path | nn.Module | ExportedProgram,
    input_shape: Shape | None,
    weights: Path | None,
    random_weights: bool,
) -> RawModel:
    if isinstance(model, nn.Module | ExportedProgram):
        _refuse(weights, random_weights, f"a {type(model).__name__}")
        found = from_module(model)
        quantity = Declared("none", f"it is called {found.name}")
        return replace(found, labels=quantity) if "regress" in found.name.lower() else found
    name = str(model)
    suffix = Path(name).suffix.lower()
    if find_trainable(name) is not None:
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
    known = (*BUILTIN, *AUTOENCODERS, *SMALL, *PAPER)
    raise UnknownNameError(
        f"no network is called {name!r}{did_you_mean(name, known)}; built in are "
        f"{', '.join((*BUILTIN, *AUTOENCODERS))}; to be trained first {', '.join((*SMALL, *PAPER))}; "
        f"others are {FORMS}; Python also accepts a torch module"
    )


def _refuse(weights: Path | None, random_weights: bool, name: str) -> None:
    """Refuse weights for a network that has its own, instead of ignoring them silently."""
    if weights is not None or random_weights:
        raise FileError(f"{name} has its own weights; leave {'--random-weights' if random_weights else weights} out")


def _network(source: RawModel, input_shape: Shape | None, steps: Steps, resized: bool, asked: Choice) -> Network:
    """The network behind its preprocessing, tested on one input."""
    known = dict(source.arguments) or arguments(source.module)
    first = next((key for key in known if not key.startswith("*") and key not in asked.fixed), FIRST)
    varied = list(asked.varied or source.varied or [first])
    fixed = {**{key: value for key, value in source.fixed.items() if key not in asked.varied}, **asked.fixed}
    check_arguments(source.name, known, varied, list(fixed))
    own = {} if resized else {key: source.shapes.get(key) or source.input_shape for key in varied}
    shapes = {key: asked.varied.get(key) or input_shape or own.get(key) for key in varied}
    if resized and len(varied) > 1:
        raise ShapeError(
            f"a preprocessing reads one image, but {', '.join(varied)} of {source.name} vary; vary one of them"
        )
    given = {key: shape for key, shape in shapes.items() if shape is not None}
    if given != shapes:
        raise ShapeError(f"a {source.name} needs the shape of one input: load(module, input_shape=(3, 32, 32))")
    shape, space = given[varied[0]], source.space
    main = (source.varied or (first,))[0]
    before: dict[str, nn.Module] = {}
    if varied != [main] and not resized:  # what was published is of that input, also if it is held or a part of others
        before, steps = {main: nn.Sequential(*steps)} if steps and main in (*varied, *fixed) else {}, ()
    if len(varied) > 1:
        shape = (sum(map(prod, given.values())),)
        space = "values, " + ", ".join(f"{key} {' × '.join(map(str, each))}" for key, each in given.items())
    read = output_shape(steps, shape)
    module = OneTensor(source.module, given, fixed, asked.outputs or source.outputs, source.batch, before)
    whole = _behind(steps, module)
    check_integers(source, varied, module, read, resized)
    try:
        found, dtype = _first_run(nn.Sequential(*steps), module, shape)
    except UnknownNameError:
        raise
    except Exception as error:  # Code of others may raise anything.
        between = f", which the preprocessing makes of {shape}" if read != shape else ""
        made = own.get(varied[0])
        meant = f"; it was made for {made}" if made not in (None, read) else ""
        raise ShapeError(
            f"{source.name} cannot read an input of shape {read}{between}: {first_line(error)}{meant}"
        ) from error
    if source.batch > 1:
        check_rows(lambda x: module.found(x).every, source.name, shape, dtype, source.batch)
    if not source.batch and varied in ([first], [FIRST]) and not fixed and _is_one_tensor(found.every):
        whole = _behind(steps, source.module)
    return Network(source.name, whole, shape, source.classes, source.card, space, source.labels, reads=dtype)


@torch.no_grad()
def _first_run(steps: nn.Module, module: OneTensor, shape: Shape) -> tuple[Found, torch.dtype]:
    """The outputs for one input, and the precision that a module reads: that of its parameters, or else float32."""
    failures: list[Exception] = []
    for dtype in dict.fromkeys((parameter_dtype(module), torch.float32)):
        try:
            return module.found(steps(torch.zeros(1, *shape, dtype=dtype))), dtype
        except Exception as error:  # Code of others may raise anything.
            failures.append(error)
    raise failures[0]


def _is_one_tensor(outputs: Mapping[str, Tensor]) -> bool:
    """Whether a network returns one tensor of real numbers with a row for each input."""
    return list(outputs) == [ALONE] and has_rows(outputs[ALONE], 1) and outputs[ALONE].is_floating_point()


def _behind(steps: Steps, module: nn.Module) -> nn.Module:
    """The module in eval, behind its preprocessing if it has one."""
    if steps:
        module = nn.Sequential(OrderedDict(preprocessing=nn.Sequential(*steps), network=module))
    with suppress(NotImplementedError):  # a module of torch.export refuses eval(); its mode is that of the export
        module.eval()
    return module


def _from_onnx(
    path: Path,
    input_shape: Shape | None,
    name: str | None,
    preprocess: str | None,
    asked: Choice,
    session: Mapping[str, str] | None,
    float_meaning: bool,
) -> Network:
    from .onnx.network import load_onnx

    own = asked.first_shape or input_shape
    steps = () if preprocess is None else preprocessing(preprocess, RawModel(path.name, nn.Identity()), own)
    network = load_onnx(
        path,
        name,
        own if own is None else output_shape(steps, own),
        fix=asked.fixed,
        vary=asked.varied,
        outputs=asked.outputs,
        session=session,
        float_meaning=float_meaning,
    )
    if preprocess is None or own is None:
        return network
    return replace(network, module=_behind(steps, network.module), input_shape=own, space="")


def _builtin(name: str, weights: Path | None, random_weights: bool) -> RawModel:
    network = trainable(name)
    with seeded():
        module = network.build()
    card: dict[str, object] = {}
    shipped = files(__package__) / "weights" / f"{name}.safetensors"
    if weights is not None:
        card = _read_weights(module, weights, name)
    elif not random_weights and not shipped.is_file():
        card = _read_weights(module, home() / "networks" / f"{name}.safetensors", name)
    elif not random_weights:
        with as_file(shipped) as path:
            card = _read_weights(module, path, name)
    if network.task == "reconstruction":
        images = Declared("none", "it is an autoencoder")
        return RawModel(name, module, network.input_shape, card=card, labels=images)
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
