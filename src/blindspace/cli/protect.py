"""``blindspace protect SRC DST``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..collections import Settings, check, salt_of
from ..collections import protect as run
from ..errors import ValueRangeError
from ..networks.labels import DASH
from ..perturbations import Recipe, kind_named, kinds
from .options import (
    AddressOption,
    Engine,
    EngineOption,
    FontOption,
    JsonOption,
    MaskOption,
    NetworkOptions,
    PerShardOption,
    PicturesOption,
    SeedOption,
    WorkersOption,
    with_network,
)
from .output import console, progress, write_json
from .secrets import KeyFileOption, SaltOption, read_key
from .totals import printed, show_dropped, show_rest, show_run, some

NOTHING_FOUND = "nothing was protected: no picture was found"


@with_network
def protect(
    reader: NetworkOptions,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="SRC",
            help="Protect this folder of pictures, tar shards (WebDataset) or Parquet tables, or one such file; "
            "the content says which it is.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="DST", help="Write the results to this folder; an interrupted run is resumed there."),
    ] = None,
    checked: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="DST",
            help="Compare the results in this folder with their manifest, and do nothing else.",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Add one of these: " + "; ".join(f"{k.name}, {k.summary}" for k in kinds() if k.protects) + ".",
        ),
    ] = "noise",
    size: Annotated[float, typer.Option(help="Give noise this size, in units of the image range.")] = 1,
    text: Annotated[str, typer.Option(help="Let people read this text in a decoy.")] = Recipe.text,
    font: FontOption = None,
    mask: MaskOption = None,
    key_file: KeyFileOption = None,
    salt: SaltOption = None,
    file_format: Annotated[
        str, typer.Option("--format", help="Write the new pictures as png, png16, tiff, npz or safetensors.")
    ] = "png",
    pictures: PicturesOption = "",
    per_shard: PerShardOption = Settings.per_shard,
    workers: WorkersOption = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Protect a collection of pictures, resumable at any moment.

    The exit code is 1 if a picture fails or changes its label, if a file may hold pictures and is not served, or if
    nothing was protected.

    DST gets manifest.jsonl, one line per picture with hashes and evidence, and manifest.json.
    """
    screen = console(json)
    if checked is not None:
        if source is not None or target is not None:
            raise ValueRangeError("--check DST stands alone: give no SRC and DST beside it")
        _check(checked, screen, json)
        return
    if source is None or target is None:
        raise ValueRangeError("protect needs SRC and DST: a collection, and a folder for the results")
    key = None
    if "key" in kind_named(kind).settings:
        key, salt = read_key(key_file, salt or salt_of(target))
    settings = Settings(
        model=reader.model,
        recipe=Recipe(kind, size=size, seed=seed, text=text, font=None if font is None else str(font), mask=mask),
        file_format=file_format,
        input_shape=reader.input_shape,
        weights=None if reader.weights is None else str(reader.weights),
        preprocess=reader.preprocess,
        random_weights=reader.random_weights,
        pictures=tuple(filter(None, pictures.split(","))),
        per_shard=per_shard,
        salt=salt or "",
        choices=reader.choices(),
        device=reader.device,
    )
    with progress("protecting") as report:
        summary = run(
            source,
            target,
            settings,
            key,
            workers=workers,
            engine=engine.value,
            address=address,
            report=report,
        )
    colour = "green" if summary.good else "red"
    told = f"{summary.protected} of {summary.images} pictures protected"
    if not summary.protected:
        told = f"nothing was protected: none of {summary.images} pictures" if summary.images else NOTHING_FOUND
    screen.print(f"[{colour}]{told}[/{colour}] in {printed(str(target))}")
    show_run(screen, summary)
    if summary.protected:
        screen.print(f"  largest output change  {summary.max_output_change:.1e}, of the files as they are read")
    if summary.protected and summary.labels_changed is None:
        screen.print(f"  labels changed         {DASH}: the network gives none")
        screen.print(f"  outputs moved by > 1 % {summary.moved}{some(summary.relabelled)}")
    elif summary.protected:
        screen.print(f"  labels changed         {summary.labels_changed}{some(summary.relabelled)}")
    show_dropped(screen, "dropped", summary.dropped, summary.protected)
    show_rest(screen, summary, "not protected", summary.protected, summary.not_protected, "copied as they are")
    write_json(summary.to_dict(), json)
    if not summary.good:
        raise typer.Exit(1)


def _check(target: Path, screen: Console, json: str | None) -> None:
    found = check(target)
    if found.good:
        screen.print(f"[green]{found.pictures} pictures in {found.files} files are as the manifest says[/green]")
    else:
        screen.print(f"[red]{found.wrong_in_all} wrong[/red] of {found.pictures} pictures in {found.files} files")
    for name, problem in found.wrong.items():
        screen.print(f"  {printed(name)}: {printed(problem)}")
    write_json(found.to_dict(), json)
    if not found.good:
        raise typer.Exit(1)
