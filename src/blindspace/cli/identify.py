"""``blindspace identify MODEL --among A --among B``, and ``--resizers all``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..errors import ShapeError, ValueRangeError
from ..evidence import identify as measure
from ..evidence import identify_resizer
from ..evidence.resizes.identification import LEAST, usual_sizes
from ..networks import Network
from ..networks.labels import DASH
from .images import load_images, stack
from .options import JsonOption, NetworkOptions, SeedOption, read_shape, with_network
from .output import console, progress, write_json


@with_network
def identify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Ask this network, only whose outputs are used.")],
    reader: NetworkOptions,
    among: Annotated[
        list[str],
        typer.Option(
            "--among", metavar="MODEL[=FILE]", help="Name a candidate, perhaps with a file of weights; give several."
        ),
    ] = [],  # noqa: B006
    resizers: Annotated[
        list[str],
        typer.Option(
            "--resizers",
            metavar="NAME",
            help="Determine how the model resizes photographs instead: all, or a resizer that comes into question, "
            "such as 'pil bicubic'; may be repeated.",
        ),
    ] = [],  # noqa: B006
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="SIZE",
            help="Name a size after the resize that comes into question, in pixels: HEIGHTxWIDTH, or one number for "
            "the shorter side; may be repeated. The usual ones if not given.",
        ),
    ] = [],  # noqa: B006
    queries: Annotated[
        int, typer.Option(help="Ask the model about at most this number of pictures to find its resizer.", min=LEAST)
    ] = 64,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            help="Read images from these pictures, array files or folders; random noise is taken if not given.",
        ),
    ] = None,
    size: Annotated[
        float, typer.Option(help="Give the probes this L∞ norm, in units of the image range.", min=0)
    ] = 1.0,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Which of several networks answers, or how it resizes, by what only one cannot see; exit code 1 if none.

    Networks with the same first layers are indistinguishable: their affine fronts have the same nullspace.
    """
    if bool(among) == bool(resizers):
        raise ValueRangeError("give either --among, a network to compare with, or --resizers, such as --resizers all")
    asked = reader.load()
    if resizers:
        _resizers(asked, resizers, to, queries, seed, json)
        return
    candidates = [reader.load_other(name) for name in among]
    x = stack(load_images(images, asked), asked) if images else None
    with progress("identify") as report:
        answer = measure(asked, candidates, x, size=size, seed=seed, progress=report)
    screen = console(json)
    verdict = f"[green]is {escape(answer.match)}[/green]" if answer.match else "[red]is none of them, or several[/red]"
    screen.print(f"{escape(asked.name)} {verdict}, by {answer.pairs} images per probe")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("harmless for", "moves its outputs by", "labels changed", "by noise of the same norm"):
        table.add_column(title, justify="left" if title == "harmless for" else "right")
    for row in answer.to_dict()["candidates"]:
        labels = (_count(row[name]) for name in ("labels_changed", "control_labels_changed"))
        table.add_row(escape(row["candidate"]), f"{row['change']:.1e} of the control", *labels)
    screen.print(table)
    write_json({"model": asked.name, "size": size, "seed": seed, **answer.to_dict()}, json)
    if answer.match is None:
        raise typer.Exit(1)


def _resizers(asked: Network, names: list[str], to: list[str], queries: int, seed: int, json: str | None) -> None:
    """Determine the resizer of a network by its outputs, print it, and exit with code 1 if none fits."""
    shape = asked.input_shape
    if len(shape) != 3:
        raise ShapeError(f"{asked.name} reads inputs of shape {shape}, not photographs (channels, height, width)")
    given = [read_shape(text, "--to") for text in to]
    sizes = [size[0] if len(size) == 1 else size for size in given] or usual_sizes(shape)
    known = None if "all" in names else names
    with progress("identify") as report:
        found = identify_resizer(asked.outputs, shape, sizes, known, queries, seed, report)
    screen = console(json)
    if found.possible:
        verdict = "resizes by" if found.match else "resizes by one of several ways"
        screen.print(f"{escape(asked.name)} [green]{verdict}[/green], by {found.queries} pictures:")
    else:
        best = found.scores[0]
        nearest = f"{best.names[0]} to {best.size[0]}×{best.size[1]}"
        verdict = "resizes in none of these ways" + (" that were tested" if found.p_value is None else "")
        screen.print(f"{escape(asked.name)} [red]{verdict}[/red], by {found.queries} pictures")
        if found.p_value is None:
            screen.print(f"  {escape(nearest)} was not tested; ask more pictures (--queries)")
        elif found.change is not None:
            reads = f"reads {found.change:.2g} of 255 of changes that this one cannot see"
            screen.print(f"  the nearest, {escape(nearest)}, was refused: the model {reads}")
    for each in found.possible:
        alike = f"; alike up to {each.difference:.1e} of 255" if len(each.names) > 1 else ""
        screen.print(f"  {escape(', '.join(each.names))} to {each.size[0]}×{each.size[1]}{alike}")
    write_json({"model": asked.name, "seed": seed, **found.to_dict()}, json)
    if not found.possible:
        raise typer.Exit(1)


def _count(labels: int | None) -> str:
    return DASH if labels is None else str(labels)
