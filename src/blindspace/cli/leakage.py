"""``blindspace leakage A B``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..evidence import leakage as measure
from ..report.leakage import draw, summary, table
from .images import check_finite, load_pairs, stack
from .options import JsonOption, NetworkOptions, SeedOption, with_network, writable_picture
from .output import console, progress, write_json


@with_network
def leakage(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Read the originals from this picture, array file or folder; the word samples stands for those "
            "built in.",
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Read the same images, protected, from here.")],
    reader: NetworkOptions,
    perceptual: Annotated[
        bool, typer.Option(help="Measure the perceptual distance as well, which takes most of the time.")
    ] = True,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw the first images and their reconstructions by attackers to this file.", callback=writable_picture
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """What attackers recover from protected images, with the network's weights and without."""
    network = reader.load()
    before, after = load_pairs(first, second, network)
    with progress(f"attacking {len(before)} images") as report:
        pair = stack(before, network), stack(after, network)
        found = measure(network, *pair, with_perceptual=perceptual, seed=seed, progress=report)
    check_finite(found.evidence, f"an image of {second}")
    if picture is not None:
        draw(found, picture)
    screen = console(json)
    screen.print(f"{len(before)} protected images, {found.dim} of {found.originals[0].numel()} dimensions unseen")
    for line in summary(found):
        screen.print(f"  {escape(line)}")
    screen.print(table(found))
    write_json(found.to_dict(), json)
