"""What every command shares: JSON beside the tables, a progress bar on a terminal, arguments that stand for images."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..data import NamedImage, check_pixels, read_images, samples
from ..errors import FileError, ShapeError, ValueRangeError
from ..evidence import Evidence
from ..files import writing
from ..networks import Network
from ..networks.builtin import BUILTIN


def writable_folder(path: Path | None) -> Path | None:
    """Callback of options that name a folder to write to, so that a bad one is refused before the work.

    Raises:
        FileError: something that is no folder, or may not be written to, is in the way.
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
    """The same for a file.

    Raises:
        FileError: its folder is none or may not be written to, or it is itself a folder.
    """
    if path is not None and path.is_dir():
        raise FileError(f"cannot write {path}: it is a folder; give the name of a file")
    if path is not None:
        writable_folder(path.parent)
    return path


def _json_path(path: str | None) -> str | None:
    if path not in (None, "-"):
        writable_file(Path(str(path)))
    return path


JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="PATH", help="Write the result as JSON there; - for standard output.", callback=_json_path
    ),
]
LARGEST_SEED = 2**63 - 1
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything random.", min=0, max=LARGEST_SEED)]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="The network that reads the images; see audit.")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="A .safetensors file for MODEL; of a built-in network instead of the shipped one."),
]
RandomWeightsOption = Annotated[
    bool, typer.Option("--random-weights", help="Take MODEL as an architecture alone, with random weights.")
]
PreprocessOption = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="SPEC",
        help="What is done to a photograph before MODEL reads it: timm, torchvision or hf for what MODEL came with, a "
        "preprocessor_config.json, or such as 'resize 256 bicubic, center-crop 224, normalise imagenet'.",
    ),
]
InputShapeOption = Annotated[
    Any,
    typer.Option(
        "--input-shape", metavar="SHAPE", help="Of one input, such as 3x480x640.", parser=lambda text: read_shape(text)
    ),
]
QUIET_AFTER = 2.0
"""Seconds before a progress bar appears."""

LARGEST_INPUT = 2**31
"""Values that one input may have at most."""

SAMPLES_WORD = "samples"
"""Stands for the 200 embedded test images of the network's data set."""


def read_shape(text: str) -> tuple[int, ...]:
    """A shape as the command line has it, such as ``3x480x640``.

    Raises:
        ShapeError: it is none, or of more values than any computer here holds.
    """
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ShapeError(f"--input-shape {text!r} is no shape; give numbers with x between them, such as 3x480x640")
    shape = tuple(map(int, parts))
    if not 0 < math.prod(shape) <= LARGEST_INPUT:
        raise ShapeError(f"--input-shape {text!r} has {math.prod(shape)} values; give from 1 to {LARGEST_INPUT}")
    return shape


def console(json_path: str | None) -> Console:
    """Where tables go: standard error where standard output carries JSON."""
    screen = Console(stderr=json_path == "-", highlight=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = 120  # a file or a pipe has no width of its own
    return screen


def write_json(result: dict[str, Any], json_path: str | None) -> None:
    """The result as JSON, if wanted; a file is written whole or not at all.

    Raises:
        FileError: the file cannot be written.
    """
    if json_path is None:
        return
    text = json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if json_path == "-":
        sys.stdout.write(text)
        return
    with writing(json_path) as temporary:
        temporary.write_text(text)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar with the remaining time: on a terminal only, and only for what takes over two seconds."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    task = bar.add_task(title, total=None)
    patience = threading.Timer(QUIET_AFTER, bar.start)
    patience.daemon = True
    patience.start()
    try:

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{title}: {what}" if what else title)

        yield update
    finally:
        patience.cancel()
        bar.stop()


def load_images(given: Sequence[str], network: Network, pixel_range: bool = True) -> list[NamedImage]:
    """The images that arguments stand for, each of the network's shape, float64.

    Args:
        given: pictures, array files, folders, or the word ``samples``.
        network: that is to read them.
        pixel_range: whether values must lie in [0, 1].

    Raises:
        FileError: a file is missing, damaged, a pickle or no picture.
        ShapeError: an image has another shape than the network reads.
        ValueRangeError: a value is NaN, infinite or out of range.
    """
    images: list[NamedImage] = []
    for word in given:
        if word == SAMPLES_WORD and not Path(word).exists():
            if network.name not in BUILTIN:
                raise FileError(f"no images are embedded for {network.name}; give files or folders")
            pixels = samples(BUILTIN[network.name].recipe.dataset).tensor(torch.float64).numpy()
            images += [NamedImage(f"sample-{index:03d}", image) for index, image in enumerate(pixels)]
        else:
            images += read_images([Path(word)])
    limit = (0.0, 1.0) if pixel_range else (-np.inf, np.inf)
    images = _distinct(images)
    for image in images:
        network.check(torch.from_numpy(image.pixels)[None], image.name)
        check_pixels(image.pixels, image.name, *limit)
    return images


def paired(before: list[NamedImage], after: list[NamedImage]) -> list[NamedImage]:
    """The second images in the order of the first: by name where the names are the same, else as they come.

    Raises:
        ShapeError: there are more of one than of the other.
    """
    if len(before) != len(after):
        raise ShapeError(f"A holds {len(before)} images and B {len(after)}; give the same images twice")
    by_name = {image.name: image for image in after}
    if {image.name for image in before} == set(by_name):
        return [by_name[image.name] for image in before]
    return after


def _distinct(images: Sequence[NamedImage]) -> list[NamedImage]:
    """The same images; a name taken by an earlier argument gets the next free number behind it."""
    taken: dict[str, NamedImage] = {}
    for image in images:
        name, count = image.name, 2
        while name in taken:
            name, count = f"{image.name}-{count}", count + 1
        taken[name] = NamedImage(name, image.pixels)
    return list(taken.values())


def check_finite(evidence: Evidence, what: str) -> None:
    """Refuse images so large that the network's own precision cannot hold what it makes of them.

    Raises:
        ValueRangeError: some output or front value is NaN or infinite.
    """
    measured = (value for value in evidence.to_dict().values() if isinstance(value, float))
    if not all(map(math.isfinite, measured)):
        raise ValueRangeError(f"{what} is too large: the network overflows in {evidence.dtype}; take a smaller one")


def stack(images: Sequence[NamedImage]) -> torch.Tensor:
    """Images as one batch, float64 ``(B, C, H, W)``."""
    return torch.from_numpy(np.stack([image.pixels for image in images]))
