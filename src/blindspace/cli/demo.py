"""``blindspace demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .options import JsonOption, SeedOption, writable_folder
from .output import console, progress, write_json


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the page to this folder.", callback=writable_folder)
    ] = Path("demo"),
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Audit cifar-resnet on real images and write one page that shows what it cannot see."""
    from ..report.demo import demo as write_page  # needs the extra [report]

    with progress("demo") as report:
        result = write_page(out, seed, report)
    console(json).print(f"open [bold]{escape(str(out / 'index.html'))}[/bold] in a browser")
    write_json(result.to_dict(), json)
