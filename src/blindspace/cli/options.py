"""Options and arguments that several commands share, each declared once, and their checks before the work."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..errors import FileError, ShapeError, ValueRangeError

if TYPE_CHECKING:
    from ..networks import Named, Network

LARGEST_SEED = 2**63 - 1

LARGEST_INPUT = 2**31
"""Largest number of values in one input."""


def writable_folder(path: Path | None) -> Path | None:
    """Refuse a folder that cannot be written to before the work begins; a callback of options.

    Raises:
        FileError: a file stands where the folder would, or the folder may not be written to.
    """
    if path is None:
        return None
    there = next(part for part in (path.absolute(), *path.absolute().parents) if os.path.lexists(part))
    if not there.is_dir():
        raise FileError(f"cannot write to {path}: {there} is not a folder; choose a folder you may write to")
    if not os.access(there, os.W_OK):
        raise FileError(f"cannot write to {path}: you may not write to {there}; choose a folder you may write to")
    return path


def writable_file(path: Path | None) -> Path | None:
    """Refuse a file that cannot be written before the work begins; a callback of options.

    Raises:
        FileError: the path is a folder, or its folder cannot be written to.
    """
    if path is not None and path.is_dir():
        raise FileError(f"cannot write {path}: it is a folder; give the name of a file")
    if path is not None:
        writable_folder(path.parent)
    return path


def known_device(name: str) -> str:
    """Refuse a device that is not there before the work begins; a callback of options.

    Raises:
        BlindspaceError: Torch finds no such device, or tensors have no values there.
    """
    if name != "cpu":  # which is always there, and needs no torch to be known
        from ..maps.linear_map import as_device

        if as_device(name).type == "meta":
            raise ValueRangeError("tensors on the device 'meta' have no values; give another one, such as 'cpu'")
    return name


def writable_picture(path: Path | None) -> Path | None:
    """Refuse a picture that cannot be drawn or written before the work begins; a callback of options.

    Raises:
        FileError: as ``writable_file``.
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name does not end like that of a picture.
    """
    if path is not None:
        from ..report.picture import check_picture

        writable_file(path)
        check_picture(path)
    return path


def writable_page(path: Path | None) -> Path | None:
    """Refuse a page that cannot be written before the work begins; a callback of options.

    Raises:
        FileError: as ``writable_folder``.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    if path is not None:
        from ..report.page import require

        writable_folder(path)
        for package in ("jinja2", "matplotlib"):
            require(package)
    return path


def _json_path(path: str | None) -> str | None:
    if path not in (None, "-"):
        writable_file(Path(str(path)))
    return path


def read_shape(text: str, option: str = "--input-shape") -> tuple[int, ...]:
    """Parse a shape as the command line has it, such as ``3x480x640``.

    Raises:
        ShapeError: the text is not a shape, or the shape has more than ``LARGEST_INPUT`` values.
    """
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ShapeError(f"{option} {text!r} is not a shape; give numbers with x between them, such as 3x480x640")
    shape = tuple(map(int, parts))
    if not 0 < math.prod(shape) <= LARGEST_INPUT:
        raise ShapeError(f"{option} {text!r} has {math.prod(shape)} values; give from 1 to {LARGEST_INPUT}")
    return shape


def read_pairs(texts: Sequence[str], option: str, what: str, needed: bool = True) -> dict[str, str]:
    """Parse options such as ``--fix NAME=FILE``, where ``what`` is FILE; it is empty where it is left out.

    Raises:
        ValueRangeError: One is not a pair.
    """
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, value) in zip(texts, pairs, strict=True):
        if not name or (needed and not value):
            raise ValueRangeError(f"{option} takes {'' if needed else 'NAME or '}NAME={what}, got {text!r}")
    return {name: value for name, _, value in pairs}


class Engine(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES",
        help="Read these pictures, .npz, .npy or .safetensors files or folders; the word samples stands for "
        "those built in.",
    ),
]
FontOption = Annotated[
    Path | None,
    typer.Option(
        "--font",
        metavar="FILE",
        help="Draw that text in this TrueType or OpenType font, which letters beside Latin ones need.",
    ),
]
MaskOption = Annotated[
    str | None,
    typer.Option(
        "--mask",
        metavar="MASK",
        help="Change nothing outside of this: a picture that is white inside, or a box of pixels x0,y0,x1,y1.",
    ),
]
LayerOption = Annotated[
    str,
    typer.Option(
        metavar="LAYER",
        help="Look at the input of this layer, named as audit lists it; the word outputs stands for the outputs.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="PATH",
        help="Write the result as JSON to this file; - is standard output.",
        callback=_json_path,
    ),
]
PicturesOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,…",
        help="Take these columns of tables and endings of archive members to hold pictures; the content says "
        "which if not given.",
    ),
]
PerShardOption = Annotated[
    int, typer.Option(help="Take at most this number of files of a folder, and 8 MiB, in one unit of work.", min=1)
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        help="Work in this number of processes; one per core if not given, and 0 works in this process.", min=0
    ),
]
EngineOption = Annotated[Engine, typer.Option(help="Do the work on this machine (local) or on a Ray cluster (ray).")]
AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Use the Ray cluster at this address, whose nodes all see the folders; one is started if not given."
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="Do the work on this device of torch, such as cpu or cuda.",
        callback=known_device,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Draw everything random from this seed.", min=0, max=LARGEST_SEED)
]


@dataclass(frozen=True)
class NetworkOptions:
    """The options that name a network; ``with_network`` gives them to a command."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Take this network to read the images; audit --help says how it is named.",
        ),
    ] = "cifar-resnet"
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", help="Load this .safetensors file into MODEL; it replaces the weights of a built-in network."
        ),
    ] = None
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Take MODEL as an architecture alone, with random weights.")
    ] = False
    input_shape: Annotated[
        Any,
        typer.Option(
            "--input-shape",
            metavar="SHAPE",
            help="State the shape of one input, such as 3x480x640, where MODEL leaves it open.",
            parser=read_shape,
        ),
    ] = None
    preprocess: Annotated[
        str | None,
        typer.Option(
            "--preprocess",
            metavar="SPEC",
            help="Preprocess photographs so before MODEL reads them: timm, torchvision or hf for the one MODEL came "
            "with, a preprocessor_config.json, or a list such as 'resize 256 bicubic, center-crop 224, normalise "
            "imagenet'.",
        ),
    ] = None
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="NAME",
            help="Vary this input of MODEL, if it has several: NAME or NAME=SHAPE; given twice, both vary jointly.",
        ),
    ] = field(default_factory=list)
    fix: Annotated[
        list[str],
        typer.Option(
            "--fix",
            metavar="NAME=FILE",
            help="Hold an input of MODEL at the value in a .npy, .npz or .safetensors file or a picture; may be "
            "repeated.",
        ),
    ] = field(default_factory=list)
    output: Annotated[
        list[str],
        typer.Option(
            "--output", metavar="NAME", help="Count this output of MODEL; may be repeated, and all count if not given."
        ),
    ] = field(default_factory=list)

    session: Annotated[
        list[str],
        typer.Option(
            "--session", metavar="KEY=VALUE", help="Set an option of onnxruntime's session for MODEL; may be repeated."
        ),
    ] = field(default_factory=list)
    float_meaning: Annotated[
        bool, typer.Option("--float-meaning", help="Read a quantised ONNX file without its roundings.")
    ] = False
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="KIND",
            help="Decide about the label of an image by argmax, the largest output; by sign, that of the only "
            "one; or by "
            "none. The outputs say which if not given.",
        ),
    ] = None
    device: DeviceOption = "cpu"

    def load(self) -> Network:
        """Load the network; raises as ``networks.load``."""
        return self.named().load()

    def named(self) -> Named:
        """The network that the options name, not loaded."""
        from ..networks import Named

        weights = None if self.weights is None else str(self.weights)
        return Named(
            self.model, self.input_shape, weights, self.preprocess, self.random_weights, self.choices(), self.device
        )

    def spelled(self) -> str:
        """The network as words of a command line: its name, and the options that are not left out."""
        words = [self.model]
        for each in fields(self):
            value = getattr(self, each.name)
            option = f"--{each.name.replace('_', '-')}"
            if each.name == "model" or value in (None, False, [], each.default):
                continue
            if value is True:
                words.append(option)
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [option, "x".join(map(str, one)) if isinstance(one, tuple) else str(one)]
        return shlex.join(words)

    def choices(self) -> dict[str, Any]:
        """What is asked for of inputs, outputs, labels and the session, as arguments of ``networks.load``."""
        varied = read_pairs(self.vary, "--vary", "SHAPE", needed=False)
        given = {
            "vary": {name: read_shape(shape, "--vary") if shape else () for name, shape in varied.items()},
            "fix": read_pairs(self.fix, "--fix", "FILE"),
            "output": self.output,
            "session": read_pairs(self.session, "--session", "VALUE"),
            "float_meaning": self.float_meaning,
            "labels": self.labels,
        }
        return {name: value for name, value in given.items() if value}

    def load_other(self, text: str) -> Network:
        """Load another network that reads the same inputs, as ``--among`` and ``--also`` name it.

        Args:
            text: A name, or ``NAME=FILE`` with the file of its weights. A name alone has random weights where MODEL is
                asked to have them, unless it is a file with weights of its own.
        """
        from ..networks import load

        model, weights = split_weights(text)
        random = self.random_weights and weights is None and not Path(model).is_file()
        return load(
            model,
            self.input_shape,
            weights=weights,
            preprocess=self.preprocess,
            random_weights=random,
            device=self.device,
        )


def split_weights(text: str) -> tuple[str, str | None]:
    """The name and the file in ``NAME=FILE``; an equals sign in brackets belongs to the options of the name.

    Raises:
        ValueRangeError: The name or the file is missing.
    """
    depth, signs = 0, []
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "=" and depth == 0:
            signs.append(place)
    if not signs or Path(text).exists():
        return text, None
    model, weights = text[: signs[0]], text[signs[0] + 1 :]
    if not model or not weights:
        raise ValueRangeError(f"another network is given as MODEL or MODEL=FILE, got {text!r}")
    return model, weights


def with_network(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter of type ``NetworkOptions`` by the options themselves.

    A command with a parameter ``model`` of its own keeps it; it stands for the option of that name.
    """
    own = signature(command, eval_str=True).parameters
    place = next(name for name, parameter in own.items() if parameter.annotation is NetworkOptions)
    hints = get_type_hints(NetworkOptions, include_extras=True)
    names = [each.name for each in fields(NetworkOptions)]
    added = [
        Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=each.default if each.default_factory is MISSING else each.default_factory(),
            annotation=hints[each.name],
        )
        for each in fields(NetworkOptions)
        if each.name not in own
    ]
    shown: list[Parameter] = []
    for name, parameter in own.items():
        shown += added if name == place else [parameter.replace(kind=Parameter.KEYWORD_ONLY)]

    @wraps(command)
    def wrapper(**given: Any) -> None:
        options = NetworkOptions(**{name: given[name] for name in names})
        command(**{place: options, **{name: given[name] for name in own if name != place}})

    wrapper.__signature__ = signature(command).replace(parameters=shown)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return wrapper
