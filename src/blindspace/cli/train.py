"""``blindspace train NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..networks import AUTOENCODERS, BUILTIN, PAPER, SMALL
from ..networks import train as run_training
from .options import LARGEST_SEED, DeviceOption, JsonOption, writable_folder
from .output import console, progress, write_json

_NAMES = (
    f"Train one of {', '.join((*BUILTIN, *AUTOENCODERS))}; of the small networks {', '.join(SMALL)}; or of the paper's "
    f"{', '.join(PAPER)}. Small ones and the paper's also with a data set: {PAPER[0]}@cifar100."
)


def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_NAMES)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write weights and card to this folder; to the cache folder if not given.",
            callback=writable_folder,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Train for this number of epochs; that of the recipe if not given.", min=1)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Draw everything random from this seed; that of the recipe if not given.", min=0, max=LARGEST_SEED
        ),
    ] = None,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
) -> None:
    """Train a network or an autoencoder; interrupted, it resumes at the last finished epoch."""
    with progress(f"training {name}") as report:
        card = run_training(name, out, epochs=epochs, seed=seed, device=device, progress=report)
    screen = console(json)
    screen.print(f"[bold]{card.name}[/bold]: {card.measured}, {card.parameters:,} parameters, {card.minutes} minutes")
    write_json(card.to_dict(), json)
