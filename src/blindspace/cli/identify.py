"""``blindspace identify MODEL --among A --among B``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..evidence import identify as measure
from ..networks.labels import DASH
from .images import load_images, stack
from .options import JsonOption, NetworkOptions, SeedOption, with_network
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
    ],
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
    """Which of several networks answers, by perturbations that only one cannot see; exit code 1 if none.

    Networks with the same first layers are indistinguishable: their affine fronts have the same nullspace.
    """
    asked = reader.load()
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


def _count(labels: int | None) -> str:
    return DASH if labels is None else str(labels)
