"""``blindspace verify A B``."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.markup import escape

from ..errors import ValueRangeError
from ..evidence import verify as measure
from ..networks import Network
from ..networks.labels import NONE
from .images import check_finite, load_pairs, stack
from .options import JsonOption, NetworkOptions, SeedOption, with_network
from .output import console, progress, write_json


@with_network
def verify(
    first: Annotated[str, typer.Argument(metavar="A", help="Picture, array file or folder; or the word samples.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same images, changed.")],
    reader: NetworkOptions,
    tolerance: Annotated[
        float, typer.Option(help="Largest output change that passes, in the model's own precision.", min=0)
    ] = 1e-3,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Whether a network reads two sets of images alike; exit code 1 if a label or an output changes."""
    if not math.isfinite(tolerance):
        raise ValueRangeError(f"the tolerance must be a finite number of at least 0, got {tolerance}")
    network = reader.load()
    before, after = load_pairs(first, second, network, pixel_range=False)
    with progress(f"verifying {len(before)} pairs"):
        evidence = measure(network, stack(before), stack(after))
    check_finite(evidence, f"an image of {second}")
    same = evidence.harmless(tolerance)
    screen = console(json)
    screen.print(f"{evidence.pairs} pairs: " + ("[green]read alike[/green]" if same else "[red]read differently[/red]"))
    screen.print(f"  largest pixel change   {evidence.max_perturbation:.3g} of the image range")
    screen.print(f"  largest front change   {evidence.max_front_change_float64:.1e} in float64, ", end="")
    screen.print(f"{evidence.max_front_change:.1e} in {evidence.dtype}")
    screen.print(f"  largest output change  {evidence.output_change()} (tolerance {tolerance:.1e})")
    screen.print(f"  relative residual      {evidence.relative_residual:.1e}")
    screen.print(f"  labels changed         {evidence.labels()}{_why(network)}")
    write_json({"model": network.name, "tolerance": tolerance, "harmless": same, **evidence.to_dict()}, json)
    if not same:
        raise typer.Exit(1)


def _why(network: Network) -> str:
    """Why there are no labels, where there are none."""
    return escape(f": {network.labelling.words}") if network.labelling.kind == NONE else ""
