"""``blindspace audit MODEL``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ..networks import LayerReport, load
from ..report.audit import Audit
from ..report.audit import audit as run_audit
from ..solvers import NAMES
from .output import JsonOption, SeedOption, WeightsOption, console, progress, write_json


def audit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A built-in network: cifar-resnet or mnist-mlp.")],
    weights: WeightsOption = None,
    layers: Annotated[bool, typer.Option(help="Measure every linear layer by itself too.")] = True,
    solver: Annotated[
        str | None, typer.Option(help=f"Of the front: {', '.join(NAMES)}; by structure and size if none.")
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """What a network cannot see: the nullspace of its affine front and of each linear layer, certified."""
    network = load(model, weights=weights)
    with progress(f"auditing {model}") as report:
        result = run_audit(network, layers, seed, report, solver)
    screen = console(json)
    front = result.space
    screen.print(
        f"[bold]{result.model}[/bold] reads {' × '.join(map(str, result.input_shape))} values and cannot see "
        f"[bold]{front.dim} of {front.ambient_dim}[/bold] dimensions of its input ({front.dim / front.ambient_dim:.1%})"
    )
    screen.print(f"  certificate  {front.certificate}")
    screen.print(f"  formula      in − out = {result.map.in_dim} − {result.map.out_dim}, so {result.formula_dim}")
    screen.print(f"  solver       {front.solver}: {front.reason}")
    screen.print(f"  residual     ‖A P δ‖ / (‖A‖ ‖δ‖) = {result.residual:.1e} in float64")
    if result.layers:
        screen.print(_table(result))
    write_json(result.to_dict(), json)


def _table(result: Audit) -> Table:
    table = Table("layer", "kind", box=None, header_style="bold", title="linear layers, each at its own input")
    for heading in ("in", "out", "dim", "formula"):
        table.add_column(heading, justify="right")
    table.add_column("certificate")
    table.add_column("harmless for the network")
    for layer in result.layers:
        table.add_row(*_row(layer))
    return table


def _row(report: LayerReport) -> list[str]:
    row = report.to_dict()
    kind = report.certificate.kind if report.certificate else report.reason
    if report.dim == 0:
        verdict = "nothing to hide in"
    elif not report.layer.harmless_for_network:
        verdict = "no: something else reads its input too"
    else:
        verdict = "yes" if report.dim else ""
    return [
        report.layer.name,
        report.layer.kind,
        *("?" if row[key] is None else str(row[key]) for key in ("in_dim", "out_dim", "dim", "formula_dim")),
        kind,
        verdict,
    ]
