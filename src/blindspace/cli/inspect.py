"""``blindspace inspect IMAGES``."""

from __future__ import annotations

from json import dumps as json_text
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from torch import Tensor

from ..collections import InspectSettings
from ..data import write_images, write_png
from ..errors import FileError, ValueRangeError
from ..evidence import Canonical, canonical, verify
from ..evidence import inspect as measure
from ..evidence._inspect import embedded_images
from ..evidence.detection import validate
from ..networks import Network, harmless
from ..networks.labels import share
from ..report.inspect import detection_table, draw, table
from .before_resize import Keep, first_resize, inspect_photographs
from .images import load_images, stack
from .inspect_all import collection_settings, inspect_all
from .options import (
    AddressOption,
    Engine,
    EngineOption,
    ImagesArgument,
    JsonOption,
    NetworkOptions,
    PerShardOption,
    PicturesOption,
    SeedOption,
    WorkersOption,
    with_network,
    writable_folder,
    writable_picture,
)
from .output import console, progress, write_json

SHOWN = 6
"""Images before and after cleaning in the picture."""


@with_network
def inspect(
    images: ImagesArgument,
    reader: NetworkOptions,
    usual: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="FOLDER",
            help="Compare with clean images like those to be inspected; those built in, of the model's input "
            "size, if not given.",
        ),
    ] = None,
    false_positives: Annotated[float, typer.Option(help="Flag clean images at this rate, in (0, 1).")] = 0.01,
    clean: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the images to this folder without what may be hidden in them.",
            callback=writable_folder,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Validate the score on half of the reference and draw ROC curves to this file: .png, .svg, .pdf.",
            callback=writable_picture,
        ),
    ] = None,
    resizers: Annotated[
        list[str],
        typer.Option(
            "--resizers",
            metavar="NAME",
            help="Take photographs before this resize, without a model: all, or a resizer alone or with its output "
            "size, such as 'torch nearest 224x224'; may be repeated.",
        ),
    ] = [],  # noqa: B006
    keep: Annotated[
        Keep,
        typer.Option(help="Let cleaned photographs keep what the network reads, or what people see."),
    ] = Keep.people,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write one line per picture of a whole collection to this folder, where an interrupted run is "
            "resumed; IMAGES is then a folder of pictures, tar shards (WebDataset) or Parquet tables, or such a file.",
        ),
    ] = None,
    pictures: PicturesOption = "",
    per_shard: PerShardOption = InspectSettings.per_shard,
    workers: WorkersOption = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Whether images hide something where the network cannot see; exit code 1 if one of them is suspicious.

    With --out DIR a whole collection is inspected. DIR gets manifest.jsonl, one line per picture, and manifest.json;
    with --clean DIR also the cleaned pictures. The exit code is then 1, too, if a picture cannot be inspected, or if
    there is none.
    """
    own = first_resize(reader.preprocess)
    asked = resizers
    if not asked and own is not None and usual is None and not _embedded(reader.input_shape):
        asked = [own]
    if target is not None:
        if picture is not None:
            raise ValueRangeError("--picture draws a few images and no collection; give it without --out")
        settings = collection_settings(
            *(asked, reader, pictures),
            false_positives=false_positives,
            seed=seed,
            clean=clean is not None,
            keep=keep.value,
            per_shard=per_shard,
        )
        where = {"workers": workers, "engine": engine.value, "address": address}
        summary = inspect_all(images, target, settings, usual, clean, console(json), **where)
        write_json(summary.to_dict(), json)
        if not summary.good:
            raise typer.Exit(1)
        return
    if pictures or address or workers is not None or (per_shard, engine) != (InspectSettings.per_shard, Engine.local):
        raise ValueRangeError(
            "--pictures, --per-shard, --workers, --engine and --address are for collections; name a folder for the "
            "results by --out"
        )
    if asked:
        told = inspect_photographs(images, asked, usual, false_positives, clean, keep, picture, seed, console(json))
        write_json(told, json)
        if told["suspicious"]:
            raise typer.Exit(1)
        return
    network = reader.load()
    named = load_images(images, network, pixel_range=False)
    names, x = [image.name for image in named], stack(named, network)
    space = harmless(network)
    clean_images = embedded_images(network.input_shape) if usual is None else stack(load_images([usual], network))
    clean_images = clean_images.to(network.device)
    with progress("learning the reference") as report:
        result = measure(space, x, clean_images, false_positives, seed=seed, progress=report)
    found: dict[str, Any] = {"model": network.name, "names": names, **result.to_dict()}
    suspicious = int(result.suspicious.sum())
    verdict = f"[red]{suspicious} suspicious[/red]" if suspicious else "[green]none suspicious[/green]"
    screen = console(json)
    screen.print(f"{len(names)} images: {verdict}")
    screen.print(
        f"  threshold   {result.threshold:.2f}, which {false_positives:.2%} of images like the "
        f"{result.reference.images} of the reference reach, processed or not"
    )
    screen.print(table(result, names))
    if clean is not None:
        found["clean"] = _clean(network, canonical(space, x, result.reference.prior), x, names, clean)
        screen.print(
            f"cleaned images in {escape(str(clean))}: {share(found['clean']['labels_changed'], len(names))} labels "
            f"change, outputs move by {found['clean']['max_output_change']:.1e} at most"
        )
    if picture is not None:
        with progress("validating the score") as report:
            tried = validate(space, clean_images, false_positives, seed, SHOWN, report)
        draw(tried.detections, tried.threshold, tried.examples, picture, SHOWN)
        screen.print(detection_table(tried.detections))
        found["detections"] = [kind.to_dict() for kind in tried.detections]
    write_json(found, json)
    if suspicious:
        raise typer.Exit(1)


def _embedded(shape: tuple[int, ...] | None) -> bool:
    """Whether clean images of a shape come with the package."""
    try:
        return shape is not None and len(embedded_images(shape)) > 0
    except FileError:
        return False


def _clean(network: Network, made: Canonical, images: Tensor, names: list[str], folder: Path) -> dict[str, Any]:
    """Write cleaned images, and measure that the network reads them as before."""
    metadata = {"model": network.name, "names": json_text(names)}
    write_images(folder / "images.npz", made.images.cpu().numpy(), metadata=metadata)
    for name, image in zip(names, made.images, strict=True):
        write_png(folder / f"{name}.png", image.cpu().numpy())
    moved = {"residual": float(made.residual.max()), "mean_squared_change": made.moved.tolist()}
    return {"folder": str(folder), **moved, **verify(network, images, made.images).to_dict()}
