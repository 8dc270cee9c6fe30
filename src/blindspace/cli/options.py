"""Options and arguments that several commands share, each declared once, and their checks before the work."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import FileError, ShapeError

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


def _json_path(path: str | None) -> str | None:
    if path not in (None, "-"):
        writable_file(Path(str(path)))
    return path


def read_shape(text: str) -> tuple[int, ...]:
    """Parse a shape as the command line has it, such as ``3x480x640``.

    Raises:
        ShapeError: the text is not a shape, or the shape has more than ``LARGEST_INPUT`` values.
    """
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ShapeError(f"--input-shape {text!r} is not a shape; give numbers with x between them, such as 3x480x640")
    shape = tuple(map(int, parts))
    if not 0 < math.prod(shape) <= LARGEST_INPUT:
        raise ShapeError(f"--input-shape {text!r} has {math.prod(shape)} values; give from 1 to {LARGEST_INPUT}")
    return shape


ImagesArgument = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES", help="Pictures, .npz, .npy or .safetensors files, folders; or the word samples."),
]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="The network that reads the images; see audit.")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="A .safetensors file for MODEL; it replaces the weights of a built-in network."),
]
RandomWeightsOption = Annotated[
    bool, typer.Option("--random-weights", help="Take MODEL as an architecture alone, with random weights.")
]
InputShapeOption = Annotated[
    Any,
    typer.Option("--input-shape", metavar="SHAPE", help="Shape of one input, such as 3x480x640.", parser=read_shape),
]
PreprocessOption = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="SPEC",
        help="Preprocessing of a photograph before MODEL reads it: timm, torchvision or hf for the one MODEL came "
        "with, a preprocessor_config.json, or a list such as 'resize 256 bicubic, center-crop 224, normalise "
        "imagenet'.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="PATH",
        help="Write the result as JSON to this file; - for standard output.",
        callback=_json_path,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0, max=LARGEST_SEED)]
