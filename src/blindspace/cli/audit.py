"""``blindspace audit MODEL``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import ValueRangeError
from ..networks import LayerReport, load
from ..report.audit import Audit
from ..report.audit import audit as run_audit
from ..report.bench import check
from ..report.spectrum import draw
from ..solvers import NAMES
from ..subspaces import EpsilonNullity, spectrum
from .output import (
    InputShapeOption,
    JsonOption,
    PreprocessOption,
    RandomWeightsOption,
    SeedOption,
    WeightsOption,
    console,
    progress,
    writable_file,
    write_json,
)


def audit(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="cifar-resnet or mnist-mlp, built in; timm:NAME, torchvision:NAME or hf:NAME; "
            "package.module:function, which is run; or a file: .onnx, .onnx.gz, .pt2.",
        ),
    ],
    weights: WeightsOption = None,
    random_weights: RandomWeightsOption = False,
    input_shape: InputShapeOption = None,
    preprocess: PreprocessOption = None,
    layers: Annotated[bool, typer.Option(help="Measure every linear layer by itself too.")] = True,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also large layers with as many outputs as inputs: minutes each.")
    ] = False,
    solver: Annotated[
        str | None, typer.Option(help=f"Of the front: {', '.join(NAMES)}; by structure and size if none.")
    ] = None,
    soft: Annotated[
        str | None,
        typer.Option(
            metavar="ε,ε,…", help="Count the directions that move the front by less than these shares of ‖A‖."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--spectrum", help="Draw the front's singular values there: .png, .svg or .pdf.", callback=writable_file
        ),
    ] = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """What a network cannot see: the nullspace of its affine front and of each linear layer, certified."""
    bounds = _numbers(soft)
    if picture is not None:
        check(picture)
    network = load(model, input_shape, weights=weights, preprocess=preprocess, random_weights=random_weights)
    with progress(f"auditing {model}") as report:
        result = run_audit(network, layers, seed, report, solver, bounds, thorough)
        found = result.to_dict()
        if picture is not None:
            curve = spectrum(result.operator)
            draw(curve, result.soft, picture)
            found["spectrum"] = curve.to_dict()
    _tell(console(json), result)
    write_json(found, json)


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(word) for word in text.split(",")] if text else []
    except ValueError as error:
        raise ValueRangeError(f"--soft takes numbers above 0 such as 1e-3,1e-2, got {text!r}") from error


def _tell(screen: Console, result: Audit) -> None:
    front, shown = result.space, result.shown
    screen.print(
        f"[bold]{escape(result.model)}[/bold] reads {' × '.join(map(str, result.input_shape))} {result.input} and "
        f"cannot see [bold]{front.dim} of {front.ambient_dim}[/bold] dimensions of its input "
        f"({front.dim / front.ambient_dim:.1%})"
    )
    for value, readers in result.ends.items():
        screen.print(f"  front        ends at {escape(value)}, read by {escape(_some(readers))}")
    screen.print(f"  certificate  {front.certificate}")
    screen.print(
        f"  formula      in − out = {result.operator.in_dim} − {result.operator.out_dim}, so {result.formula_dim}"
    )
    screen.print(f"  solver       {escape(f'{front.solver}: {front.reason}')}")
    screen.print(f"  residual     ‖A P δ‖ / (‖A‖ ‖δ‖) = {result.residual:.1e} in float64")
    if shown is not None:
        screen.print(
            f"  shown        outputs move by {shown.harmless:.1e} for harmless noise of L∞ {shown.size:g}, by "
            f"{shown.noise:.1e} for noise of the same norm; {shown.labels_changed} of {shown.inputs} labels change"
        )
    if result.soft is not None:
        screen.print(_soft(result.soft))
    if result.layers:
        screen.print(_table(result))


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _soft(soft: EpsilonNullity) -> Table:
    table = Table(
        box=None, header_style="bold", title=f"directions that move the front by little: {escape(soft.method)}"
    )
    for heading in ("below ‖A‖ ×", "ε", "directions", "at least", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("kind")
    for threshold, epsilon, count, low, high, kind in zip(
        soft.thresholds, soft.epsilons, soft.counts, soft.low, soft.high, soft.kinds, strict=True
    ):
        table.add_row(f"{threshold:.3g}", f"{epsilon:.3g}", f"{count:,}", f"{low:,}", f"{high:,}", kind)
    return table


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
