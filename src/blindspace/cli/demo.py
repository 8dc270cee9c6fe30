"""``blindspace demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .options import DeviceOption, JsonOption, SeedOption, writable_folder
from .output import console, progress, write_json


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the page to this folder.", callback=writable_folder)
    ] = Path("demo"),
    device: DeviceOption = "cpu",
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Audit cifar-resnet on real images and write one page that shows what it cannot see."""
    from ..report.demo import NEXT  # needs the extra [report]
    from ..report.demo import demo as write_page

    with progress("demo") as report:
        result = write_page(out, seed, report, device=device)
    screen = console(json)
    screen.print(f"{escape(result.answer)}.")
    screen.print(f"Open [bold]{escape(str(result.page))}[/bold] in a browser. Then try:")
    for what, command in NEXT:
        screen.print(f"  [bold]blindspace {escape(command)}[/bold]\n      {escape(what)}")
    write_json(result.to_dict(), json)
