"""``blindspace exposure MODEL``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape

from ..data import check_pixels, read_images
from ..data.channels import in_channels
from ..errors import FileError, ValueRangeError
from ..evidence.resizes.exposure import exposure as measure
from ..networks import Network
from ..report.exposure import draw, table
from .options import JsonOption, NetworkOptions, with_network, writable_picture
from .output import console, progress, write_json


@with_network
def exposure(
    photos: Annotated[
        list[str],
        typer.Option(
            "--photos",
            metavar="PHOTOS",
            help="Take these photographs, of any size: pictures, array files or folders; may be repeated.",
        ),
    ],
    reader: NetworkOptions,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Compare the labels of this network too, named as for audit; the preprocessing alone is measured if "
            "not given.",
        ),
    ] = None,
    resizers: Annotated[
        list[str] | None,
        typer.Option(
            "--resizers",
            metavar="NAME",
            help="Compare with this resizer, such as 'pil box' or 'opencv area', or with all; may be repeated. The "
            "usual ones are taken if not given.",
        ),
    ] = None,
    perceptual: Annotated[
        bool,
        typer.Option(
            "--perceptual",
            help="Measure the perceptual distance of what people see too, which takes several times as long as the "
            "attacks.",
        ),
    ] = False,
    most: Annotated[int, typer.Option("--most", help="Take at most this number of the photographs.", min=2)] = 4,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw what people see and what the network reads to this file: .png, .svg or .pdf.",
            callback=writable_picture,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """How far what a network reads can be made to differ from what people see, by the resize in front of it."""
    if reader.preprocess is None:
        raise ValueRangeError(
            "an exposure is that of a resize: give --preprocess, such as 'resize 256 bicubic, center-crop 224'"
        )
    named = read_images([Path(word) for word in photos])[:most]
    if len(named) < 2:
        raise FileError(f"an exposure needs at least two photographs, got {len(named)}: give more with --photos")
    for image in named:
        check_pixels(image.pixels, image.name, 0.0, 1.0)
    x = [torch.from_numpy(in_channels(image.pixels, (3, 1, 1)).copy()) for image in named]
    pipeline: Network | str = reader.preprocess
    if model is not None:
        shape = reader.input_shape or tuple(x[0].shape)
        pipeline = replace(reader, input_shape=shape).load()
    with progress("exposure") as report:
        found = measure(pipeline, x, resizers or None, with_perceptual=perceptual, progress=report)
    screen = console(json)
    low, high = found.ratios
    screen.print(
        f"{escape(found.pipeline)}: {found.photographs} photographs, {low:.2f} to {high:.2f} pixels become one "
        "along an axis"
    )
    screen.print(table(found))
    own, advised = found.own, found.advised
    screen.print(f"the exposure of {own.resizer} is [bold]{own.score:.2f}[/bold]: {_meaning(own.score)}")
    if advised is own:
        screen.print("none of the others is less exposed")
    else:
        kept = "" if advised.kept is None else f"; {advised.kept} of {found.photographs} labels stay"
        screen.print(f"[green]{advised.resizer}[/green] would make it {advised.score:.2f}{kept}")
    if picture is not None:
        draw(found, picture)
    write_json({"photographs_read": [image.name for image in named], **found.to_dict()}, json)


def _meaning(score: float) -> str:
    return f"a picture that is read as another one shows people {1 - score:.0%} of the difference between the two"
