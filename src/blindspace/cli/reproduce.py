"""``blindspace reproduce NAME``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..experiments.registry import NAMES, chosen
from .options import AddressOption, DeviceOption, Engine, EngineOption, JsonOption, SeedOption, writable_folder
from .output import console, progress, write_json

if TYPE_CHECKING:
    from ..experiments.experiment import Result


class Preset(StrEnum):
    """How much of the paper's settings is computed."""

    smoke = "smoke"
    cpu = "cpu"
    paper = "paper"


def reproduce(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help=f"Reproduce all, or some of {', '.join(NAMES)}.")],
    preset: Annotated[
        Preset,
        typer.Option(
            help="Take a minute on built-in images (smoke), under an hour on two cores (cpu), or the paper's "
            "settings (paper)."
        ),
    ] = Preset.cpu,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Write the results to this folder.", callback=writable_folder)
    ] = Path("results"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute again what earlier runs have finished and kept.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Compute parts in this number of processes of one thread; in this process if not given or 0, and on "
            "Ray on every core.",
            min=0,
        ),
    ] = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """Reproduce tables and figures of the papers; interrupted, the same command goes on where it stopped."""
    from ..experiments.results import write_page
    from ..experiments.runner import runs

    screen = console(json)
    results = []
    experiments = chosen(names)
    for result in runs(experiments, preset.value, out, seed, progress, fresh, workers, engine.value, address, device):
        results.append(result)
        screen.print(_summary(result), soft_wrap=True)
    page = write_page(out)
    screen.print(f"all results: {escape(str(page))}")
    write_json({"results": [result.to_dict() for result in results]}, json)
    if not all(result.holds for result in results):
        raise typer.Exit(1)


def _summary(result: Result) -> Table:
    """The result's claims and verdicts; its rows are in its table.md."""
    from ..experiments.verdicts import QUESTIONS, answer

    table = Table(box=None, show_header=False, title=f"[bold]{result.name}[/bold] {escape(result.title)}")
    table.title_justify = "left"
    for claim in result.claims:
        mark = {True: "[green]holds[/green]", False: "[red]does not hold[/red]", None: "too small to decide"}[
            claim.holds
        ]
        table.add_row(mark, escape(claim.text))
    for verdict in result.verdicts:
        table.add_row(f"[bold]{escape(answer(verdict))}[/bold]", escape(QUESTIONS[verdict.question].claim))
    return table
