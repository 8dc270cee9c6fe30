"""``blindspace units MODEL IMAGES``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..invariances import UnitCounts
from ..invariances import units as count
from ..networks.labels import DASH
from .images import load_images, stack
from .options import ImagesArgument, JsonOption, NetworkOptions, with_network
from .output import console, progress, write_json


@with_network
def units(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Take this network; audit --help says how it is named.")
    ],
    images: ImagesArgument,
    reader: NetworkOptions,
    scaling: Annotated[
        float,
        typer.Option(
            "--scaling",
            metavar="SHARE",
            help="Let scaling a group of values change a normalised output by at most this share of it.",
            min=0,
        ),
    ] = 0.0,
    json: JsonOption = None,
) -> None:
    """Which units of non-linear layers are off, on or saturated over images, and what may change there at each."""
    network = reader.load()
    x = stack(load_images(images, network), network)
    with progress(f"reading {len(x)} images") as report:
        found = count(network, x, tol=scaling, progress=report)
    screen = console(json)
    screen.print(f"{escape(found.network)}, {found.images} images: how many dimensions of what is read may change")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("operation", "units", "at an image", "always off", "always saturated", "always on"):
        table.add_column(title, justify="left" if title == "operation" else "right")
    for row in found.rows:
        counts = (row.always_off, row.always_saturated, row.never_free)
        shown = (DASH if number is None else str(number) for number in counts)
        table.add_row(escape(row.label), str(row.units), _dims(row), *shown)
    screen.print(table)
    if not found.rows:
        screen.print("no operation has a harmless set that is known")
    screen.print(
        f"a unit found in one state at all images is in it with a probability of at least {found.bound:.3g}, 95 %"
    )
    write_json(found.to_dict(), json)


def _dims(row: UnitCounts) -> str:
    """The mean of the dimension over the images, and its range."""
    least, most = int(row.dims.min()), int(row.dims.max())
    mean = float(row.dims.double().mean())
    return str(least) if least == most else f"{mean:.1f} ({least} to {most})"
