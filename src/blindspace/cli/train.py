"""``blindspace train NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..networks import BUILTIN
from ..networks import train as run_training
from .output import LARGEST_SEED, JsonOption, console, progress, writable_folder, write_json


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(BUILTIN)}.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for weights and card; the cache folder by default.", callback=writable_folder
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.", min=0, max=LARGEST_SEED)] = None,
    json: JsonOption = None,
) -> None:
    """Train a built-in network; interrupted, it resumes at the last finished epoch with the same command."""
    with progress(f"training {name}") as report:
        card = run_training(
            name,
            out,
            epochs=epochs,
            seed=seed,
            report=lambda d, n, loss, what: report(d, n, f"{what}, loss {loss:.3f}"),
        )
    screen = console(json)
    screen.print(
        f"[bold]{card.name}[/bold]: {card.test_accuracy:.2%} of {card.test_images} {card.dataset} test images, "
        f"{card.parameters:,} parameters, {card.minutes} minutes"
    )
    write_json(card.to_dict(), json)
