"""``blindspace level-set MODEL IMAGE TARGET``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape

from ..data import NamedImage, write_images, write_png
from ..errors import FileError, ValueRangeError
from ..invariances import level_set as follow
from ..networks import Network
from .images import load_images, stack
from .options import JsonOption, LayerOption, MaskOption, NetworkOptions, with_network, writable_file, writable_folder
from .output import console, progress, write_json

SHOWN = 9
"""Number of points along the path that are written as pictures."""


@with_network
def level_set(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Take this network; audit --help says how it is named.")
    ],
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Start the path from this image.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Lead it toward this picture.")],
    reader: NetworkOptions,
    layer: LayerOption = "outputs",
    tolerance: Annotated[
        float, typer.Option(help="Let no output change by more than this share of the largest output of IMAGE.")
    ] = 1e-6,
    steps: Annotated[
        int, typer.Option(help="Take at most this number of steps in each part of the work.", min=1)
    ] = 600,
    mask: MaskOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the vertices of the path to this .npz or .safetensors file.",
            callback=writable_file,
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            help=f"Write {SHOWN} points of the path to this folder as 8-bit PNGs to look at; they are rounded, "
            "and no evidence.",
            callback=writable_folder,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """A path from an image toward another one along which no output of the network changes; exit code 1 if one does."""
    if out is not None and out.suffix not in (".npz", ".safetensors"):
        raise FileError(f"{out} must end in .npz or .safetensors, which hold all vertices of the path unrounded")
    network = reader.load()
    x, goal = (stack([_one(given, network)], network) for given in (image, target))
    with progress("level set") as report:
        path = follow(network, x, goal, layer, tolerance=tolerance, steps=steps, progress=report, mask=mask)
    if out is not None:
        write_images(out, path.vertices.cpu().numpy())
    if preview is not None:
        for number, point in enumerate(path.at(torch.linspace(0, 1, SHOWN).tolist())):
            write_png(preview / f"{number}.png", point.cpu().numpy())
    screen = console(json)
    kept = "outputs" if layer == "outputs" else f"values that {escape(layer)} reads"
    screen.print(
        f"{len(path.vertices)} vertices, the {path.outputs.shape[1]} {kept} of {escape(network.name)} constant"
    )
    between = "at the vertices and within the segments, in float64"
    screen.print(f"  largest change         {path.max_change:.1e} of the largest one, {between}")
    if path.own_change is not None:
        own = str(network.dtype).removeprefix("torch.")
        screen.print(f"                         {path.own_change:.1e} at the vertices in the model's own {own}")
    screen.print(
        f"  RMSE to the target     {float(path.rmse[0]):.4f} at the image, {float(path.rmse[-1]):.4f} at the end"
    )
    screen.print(f"  length                 {path.length:.4f}, in the same units")
    screen.print(f"  ends because           {path.reason}")
    screen.print(f"  work                   {path.products} products with the Jacobian, {path.evaluations} evaluations")
    write_json(
        {"model": network.name, "layer": layer, "image": image, "target": target, "mask": mask, **path.to_dict()}, json
    )
    if not path.level:
        raise typer.Exit(1)


def _one(given: str, network: Network) -> NamedImage:
    """The only image that an argument stands for.

    Raises:
        ValueRangeError: There are several.
    """
    images = load_images([given], network)
    if len(images) != 1:
        raise ValueRangeError(f"{given} holds {len(images)} images; a path leads from one image to one other")
    return images[0]
