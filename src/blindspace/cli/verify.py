"""``blindspace verify A B``."""

from __future__ import annotations

import math
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ValueRangeError
from ..evidence import accept
from ..evidence import verify as measure
from ..evidence.acceptance import Acceptance
from ..networks import Network
from ..networks.labels import NONE
from .images import check_finite, load_images, load_pairs, stack
from .options import JsonOption, NetworkOptions, SeedOption, with_network
from .output import console, progress, write_json


@with_network
def verify(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="Read the first images from this picture, array file or folder; the word samples stands for "
            "those built in.",
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Read the same images, changed, from here.")],
    reader: NetworkOptions,
    tolerance: Annotated[
        float, typer.Option(help="Let an output change of this size pass, in the model's own precision.", min=0)
    ] = 1e-3,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="LAYER",
            help="Judge the change of what this layer passes on too; the word outputs stands for the outputs.",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="IMAGES",
            help="Read unrelated images of the same kind for --layer: a change that is more than rounding passes "
            "if it is "
            "smaller than between any two of them; may be repeated.",
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Whether a network reads two sets of images alike; exit code 1 if a label, an output or LAYER changes."""
    if not math.isfinite(tolerance):
        raise ValueRangeError(f"the tolerance must be a finite number of at least 0, got {tolerance}")
    if reference and layer is None:
        raise ValueRangeError("--reference is for --layer: name the layer, or outputs, whose change is to be judged")
    network = reader.load()
    before, after = load_pairs(first, second, network, pixel_range=False)
    with progress(f"verifying {len(before)} pairs"):
        evidence = measure(network, stack(before, network), stack(after, network))
    judged = None
    if layer is not None:
        others = stack(load_images(reference, network), network) if reference else None
        with progress(f"judging the change at {layer}"):
            judged = accept(network, stack(before, network), stack(after, network), layer, others, seed=seed)
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
    result = {"model": network.name, "tolerance": tolerance, "harmless": same, **evidence.to_dict()}
    if judged is not None:
        _show(judged, screen)
        result["acceptance"] = judged.to_dict()
    write_json(result, json)
    if not same or (judged is not None and False in judged.accepted):
        raise typer.Exit(1)


def _show(judged: Acceptance, screen: Console) -> None:
    """What the change of a layer's values is, beside rounding, unrelated images and the controls."""
    layer = escape(judged.layer)
    bounds = ", ".join(f"{float(bound.max()):.1e} in {name}" for name, bound in judged.bounds.items())
    controls = (f"{float(each.median()):.1e}" for each in (judged.shuffled, judged.gaussian))
    screen.print(f"  at {layer}: " + escape(judged.words()))
    screen.print(f"    largest distance     {float(judged.found.distance.max()):.1e} (rounding explains {bounds})")
    screen.print("    of the same norm     {} shuffled, {} Gaussian noise, in the median".format(*controls))
    if judged.null is not None:
        null = judged.null.to_dict()
        screen.print(
            f"    unrelated images     {null['min_distance']:.1e} at least, {null['median_distance']:.1e} in the "
            f"median of {judged.null.pairs} pairs"
        )
    if judged.judgement():
        screen.print(f"    {judged.judgement()}")


def _why(network: Network) -> str:
    """Why there are no labels, where there are none."""
    return escape(f": {network.labelling.words}") if network.labelling.kind == NONE else ""
