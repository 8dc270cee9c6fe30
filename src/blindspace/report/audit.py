"""An audit as lines and tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..evidence import Audit, Response
from ..networks import Evidence, LayerReport
from ..networks.labels import share
from ..subspaces import EpsilonNullity


def print_audit(screen: Console, audit: Audit) -> None:
    """Print what a network cannot see, its certificate, and one row per linear layer."""
    front, shown = audit.space, audit.shown
    screen.print(
        f"[bold]{escape(audit.model)}[/bold] reads {' × '.join(map(str, audit.input_shape))} {audit.input} and "
        f"cannot see [bold]{front.dim} of {front.ambient_dim}[/bold] dimensions of its input "
        f"({front.chance:.1%})"
    )
    for value, readers in audit.ends.items():
        screen.print(f"  front        ends at {escape(value)}, read by {escape(_first_few(readers))}")
    screen.print(f"  certificate  {front.certificate}")
    screen.print(
        f"  formula      in − out = {audit.operator.in_dim} − {audit.operator.out_dim}, so {audit.formula_dim}"
    )
    screen.print(f"  solver       {escape(f'{front.solver}: {front.reason}')}")
    screen.print(f"  residual     ‖A P δ‖ / (‖A‖ ‖δ‖) = {audit.residual:.1e} in float64")
    if audit.measured is not None:
        screen.print(f"  measured     {_measured(audit.measured)}")
    if shown is not None:
        screen.print(f"  shown        {_shown(shown)}")
    if audit.deployed is not None:
        screen.print(f"  deployed     with its roundings, {_shown(audit.deployed)}")
    if audit.soft is not None:
        screen.print(_nullity_table(audit.soft))
    if audit.layers:
        screen.print(_layer_table(audit.layers))


def _measured(evidence: Evidence) -> str:
    if evidence.void:
        return f"nothing: {evidence.void}"
    return (
        f"outputs move by at most {evidence.moved:.1e} along it, by {evidence.noise:.1e} for noise of the same norm "
        f"({evidence.precision}, {evidence.magnitude:g} times the input); rounding explains {evidence.rounding:.1e}"
    )


def _shown(response: Response) -> str:
    return (
        f"outputs move by {response.harmless:.1e} for harmless noise of L∞ {response.size:g}, by {response.noise:.1e} "
        f"for noise of the same norm; {share(response.labels_changed, response.inputs)} labels change"
    )


def _first_few(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _nullity_table(soft: EpsilonNullity) -> Table:
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


def _layer_table(layers: tuple[LayerReport, ...]) -> Table:
    table = Table("layer", "kind", box=None, header_style="bold", title="linear layers, each at its own input")
    for heading in ("in", "out", "dim", "formula"):
        table.add_column(heading, justify="right")
    table.add_column("certificate")
    table.add_column("harmless for the network")
    for layer in layers:
        table.add_row(*_layer_row(layer))
    return table


def _layer_row(report: LayerReport) -> list[str]:
    row = report.to_dict()
    if report.dim == 0:
        verdict = "trivial nullspace"
    elif not report.layer.harmless_for_network:
        verdict = "no: something else reads its input too"
    else:
        verdict = "yes" if report.dim else ""
    return [
        report.layer.name,
        report.layer.kind,
        *("?" if row[key] is None else str(row[key]) for key in ("in_dim", "out_dim", "dim", "formula_dim")),
        report.certificate.kind if report.certificate else report.reason,
        verdict,
    ]
