"""``blindspace local MODEL IMAGES``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape
from rich.table import Table

from ..data import write_images
from ..errors import FileError
from ..invariances import local as analyse
from .images import load_images, stack
from .options import ImagesArgument, JsonOption, LayerOption, MaskOption, NetworkOptions, with_network, writable_file
from .output import console, progress, write_json


@with_network
def local(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Take this network; audit --help says how it is named.")
    ],
    images: ImagesArgument,
    reader: NetworkOptions,
    layer: LayerOption = "outputs",
    k: Annotated[
        int, typer.Option("-k", help="Compute this number of least and of most harmful directions.", min=1)
    ] = 8,
    mask: MaskOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the least harmful directions to this .npz or .safetensors file, those of each image "
            "after another.",
            callback=writable_file,
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """What a network cannot see at each image, to first order: nullity, least and most harmful directions."""
    if out is not None and out.suffix not in (".npz", ".safetensors"):
        raise FileError(f"{out} must end in .npz or .safetensors, which hold directions unrounded")
    network = reader.load()
    named = load_images(images, network)
    with progress("local") as report:
        found = []
        for number, image in enumerate(named):
            report(number, len(named), image.name)
            found.append(analyse(network, stack([image], network), layer, k, mask=mask))
    if out is not None:
        write_images(out, torch.cat([each.least.directions for each in found]).cpu().numpy())
    screen = console(json)
    what = "outputs" if layer == "outputs" else f"values that {escape(layer)} reads"
    first = found[0]
    screen.print(f"Jacobian of the {first.outputs} {what} of {escape(network.name)} by {first.inputs} input values")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("image", "nullity", "σ max", "least σ above 0", "σ of the k least", "residual", "products"):
        table.add_column(title, justify="left" if title == "image" else "right")
    for image, each in zip(named, found, strict=True):
        largest = float(each.most.sigma[0])
        table.add_row(
            escape(image.name),
            "not known" if each.nullity is None else str(each.nullity),
            f"{largest:.4g}",
            "not known" if each.above is None else f"{each.above * largest:.3g}",
            f"{float(each.least.sigma.min()):.2g} … {float(each.least.sigma.max()):.2g}",
            f"{float(each.least.residual.max()):.1e}",
            str(each.products),
        )
    screen.print(table)
    screen.print(f"  method                 {first.method}")
    screen.print("  residual               largest ‖JᵀJ v − σ² v‖ / σ_max² of the least harmful directions, measured")
    results = [{"image": image.name, **each.to_dict()} for image, each in zip(named, found, strict=True)]
    write_json({"model": network.name, "layer": layer, "mask": mask, "images": results}, json)
