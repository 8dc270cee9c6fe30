"""``blindspace bench``."""

from __future__ import annotations

import platform
from typing import Annotated

import torch
import typer
from rich.table import Table

from ..experiments.bench import bench as measure
from ..experiments.bench import select
from .output import JsonOption, SeedOption, console, progress, write_json


def bench(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASES]", help="Parts of their names; all if none.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Turns of projector and lower bound.", min=3)] = 15,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """What a projection costs, as a ratio to one forward and one adjoint of the layer (LB), float64."""
    chosen = select(cases)
    rows = []
    with progress("bench") as report:
        for index, row in enumerate(measure(cases, repeats, seed)):
            rows.append(row)
            report(index + 1, len(chosen), row.name)
    table = Table("case", "solver", box=None, header_style="bold")
    for heading in ("n", "dim", "set-up s", "batch 1 / LB", "batch 64 / LB", "residual"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            row.solver,
            str(row.in_dim),
            str(row.dim),
            f"{row.setup:.2f}",
            f"{row.ratio_1:.2f}",
            f"{row.ratio_64:.2f}",
            f"{row.residual:.1e}",
        )
    console(json).print(table)
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    write_json({**machine, "seed": seed, "repeats": repeats, "rows": [row.to_dict() for row in rows]}, json)
