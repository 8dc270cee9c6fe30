"""``blindspace bench``."""

from __future__ import annotations

import platform
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import scipy
import torch
import typer
from rich.table import Table

from ..bench import certificates as certified
from ..bench.baselines import BASELINES
from ..bench.certificates import AuditRow, StemRow
from ..bench.chart import draw, draw_growth
from ..bench.directions import DirectionRow
from ..bench.directions import directions as measure_directions
from ..bench.growth import SIDES, GrowthRow
from ..bench.growth import growth as measure_growth
from ..bench.learning import AttackRow, PointRow
from ..bench.learning import attack as measure_attack
from ..bench.learning import point as measure_point
from ..bench.protecting import protecting as measure_protecting
from ..bench.run import PATIENCE, BaselineRow, BenchRow, Refused, select
from ..bench.run import bench as measure
from ..bench.tangents import tangents as measure_tangents
from ..errors import ValueRangeError
from ..maps.linear_map import as_device
from ..networks.autoencoders import AUTOENCODERS
from .options import DeviceOption, JsonOption, SeedOption, writable_picture
from .output import console, progress, write_json

ATTACKED = ("mnist-mlp", "convnet@mnist")
"""Networks whose images are perturbed."""

LOOKED_AT = ("mnist-mlp", "cifar-resnet")
"""Networks whose directions at an image are found."""


def bench(
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASES]", help="Measure the cases with one of these parts in their names; all if not given."
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="32,64,…", help="Measure a 7×7 stem at these image sides in pixels, instead or besides."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Measure projector and lower bound in turn this number of times.", min=3)
    ] = 15,
    patience: Annotated[
        float, typer.Option(help="Spend about this number of seconds on a measurement.", min=0.1)
    ] = PATIENCE,
    rivals: Annotated[bool, typer.Option("--rivals/--no-rivals", help="Measure other libraries too.")] = True,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the cost against the image size: .png, .svg or .pdf.", callback=writable_picture),
    ] = None,
    tangents: Annotated[
        bool, typer.Option("--tangents", help="Measure tangent bases of the built-in autoencoders instead.")
    ] = False,
    learning: Annotated[bool, typer.Option("--learning", help="Measure learning from perturbations instead.")] = False,
    protect: Annotated[
        bool, typer.Option("--protect", help="Measure protecting and completing pictures instead.")
    ] = False,
    directions: Annotated[
        bool, typer.Option("--directions", help="Measure the directions of networks at an image instead.")
    ] = False,
    certificates: Annotated[
        bool, typer.Option("--certificates", help="Measure certificates and whole audits of networks instead.")
    ] = False,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Measure the package in this folder in turn with this one: the stem at several sides and batches, or "
            "what --certificates measures.",
        ),
    ] = None,
    device: DeviceOption = "cpu",
    json: JsonOption = None,
    seed: SeedOption = 0,
) -> None:
    """The cost of a projection, as a ratio to one forward and one adjoint of the layer (LB), in float64."""
    place = as_device(device)
    other = tangents or learning or protect or directions or certificates
    if place.type != "cpu" and (other or before is not None):
        raise ValueRangeError("--device measures projections; give it without --before and other measurements")
    if before is not None and not other:
        if cases:
            raise ValueRangeError("--before measures the stem at several sides and batches; give it without cases")
        _growth(before, _sides(sizes), picture, seed, json)
        return
    if before is not None and not certificates:
        raise ValueRangeError("--before is a copy of the package to measure beside this one; give --certificates too")
    instead = (
        ("--tangents", tangents, _tangents),
        ("--learning", learning, _learning),
        ("--protect", protect, _protect),
        ("--directions", directions, _directions),
        ("--certificates", certificates, partial(_certificates, before)),
    )
    wanted = [(option, measured) for option, asked, measured in instead if asked]
    if wanted:
        if cases or sizes or picture or len(wanted) > 1:
            option = wanted[0][0]
            raise ValueRangeError(
                f"{option} has no picture and its own cases; give it alone, without cases, --sizes and --picture"
            )
        wanted[0][1](seed, json)
        return
    chosen = select(cases, _sides(sizes))
    if picture is not None and not any(case.side for case in chosen):
        raise ValueRangeError("the picture shows cost against image size; give --sizes 32,64,128")
    rows: list[BenchRow] = []
    others: list[BaselineRow] = []
    refused: list[Refused] = []
    baselines = BASELINES if rivals else ()
    with progress("bench") as report:
        total = len(chosen) * (1 + len(baselines))
        for index, row in enumerate(measure(chosen, repeats, seed, baselines, patience, device)):
            match row:
                case BenchRow():
                    rows.append(row)
                case BaselineRow():
                    others.append(row)
                case Refused():
                    refused.append(row)
            report(index + 1, total, row.name)
    screen = console(json)
    if rows:
        screen.print(_ours(rows))
    for no in refused:
        screen.print(f"{no.name}: not measured; {no.reason}", markup=False)
    begun = [row for row in others if not _never_begun(row, others)]
    if begun:
        screen.print("\nother libraries, each in a process of its own")
        screen.print(_theirs(begun, {row.name: row for row in rows}))
    for rival, reason in {row.rival: row.skipped for row in others if row not in begun}.items():
        screen.print(f"{rival}: on no case; {reason}", markup=False)
    if picture is not None and any(row.side for row in rows):
        draw(picture, rows, others)
    settings = {"seed": seed, "repeats": repeats, "patience": patience}
    measured = {
        "rows": [asdict(row) for row in rows],
        "rivals": [asdict(row) for row in others],
        "refused": [asdict(no) for no in refused],
    }
    write_json({**_machine(place), **settings, **measured}, json)


def _growth(before: Path, sides: list[int] | None, picture: Path | None, seed: int, json: str | None) -> None:
    """Measure, show and draw how the cost of a projection grows, beside another copy of the package."""
    rows: list[GrowthRow] = []
    sides = sides or list(SIDES)
    with progress("bench") as report:
        for index, row in enumerate(measure_growth(before, sides, seed=seed)):
            rows.append(row)
            report(index + 1, 2 * len(sides), f"{row.copy}, {row.side} pixels")
    table = _table(["stem at", "copy"], ["set-up s", "kept MB", "peak MB", "cost / LB, by batch", "residual"])
    for row in rows:
        costs = ", ".join(f"{cost:.1f} ({batch})" for batch, cost in zip(row.batches, row.costs, strict=True))
        sizes = (f"{row.kept / 1e6:.1f}", f"{row.peak_setup / 1e6:.0f}")
        table.add_row(f"{row.side}", row.copy, f"{row.setup:.2f}", *sizes, costs, f"{row.residual:.0e}")
    console(json).print(table)
    if picture is not None:
        draw_growth(picture, rows)
    write_json({**_machine(), "seed": seed, "growth": [asdict(row) for row in rows]}, json)


def _tangents(seed: int, json: str | None) -> None:
    """Measure and show the tangent bases of all built-in autoencoders."""
    rows = []
    with progress("bench") as report:
        for index, name in enumerate(AUTOENCODERS):
            report(index, len(AUTOENCODERS), name)
            rows.append(measure_tangents(name, seed=seed))
    headings = [
        "k",
        "n",
        "pass s",
        "J / pass",
        "QR / pass",
        "× faster",
        "× (batched)",
        "peak MB",
        "at 2 B",
        "difference",
    ]
    table = _table(["decoder"], headings)
    for row in rows:
        table.add_row(
            row.decoder,
            str(row.latent),
            str(row.pixels),
            f"{row.forward:.3f}",
            f"{row.jacobian_passes:.1f}",
            f"{row.orthonormal_passes:.1f}",
            f"{row.faster:.0f}",
            f"{row.faster_batched:.1f}",
            f"{row.peak / 1e6:.0f}",
            f"{row.peak_double / 1e6:.0f}",
            f"{row.difference:.0e}",
        )
    console(json).print(table)
    write_json({**_machine(), "seed": seed, "tangents": [asdict(row) for row in rows]}, json)


def _learning(seed: int, json: str | None) -> None:
    """Measure and show what learning from perturbations costs."""
    with progress("bench") as report:
        report(0, 1 + len(ATTACKED), "a point of the experiment on artificial data")
        row = measure_point(seed=seed)
        attacks = []
        for index, name in enumerate(ATTACKED):
            report(1 + index, 1 + len(ATTACKED), f"perturbing images for {name}")
            attacks.append(measure_attack(name, seed=seed))
    screen = console(json)
    screen.print(_point(row))
    screen.print()
    screen.print(_attacks(attacks))
    attacked = [asdict(each) for each in attacks]
    write_json({**_machine(), "seed": seed, "point": asdict(row), "attacks": attacked}, json)


def _protect(seed: int, json: str | None) -> None:
    """Measure and show what protecting pictures costs."""
    with progress("bench") as report:
        rows = measure_protecting(seed=seed, progress=report)
    table = _table([f"processor time, {torch.get_num_threads()} threads"], ["images", "s each", "", ""])
    for row in rows:
        table.add_row(row.what, str(row.images), f"{row.seconds:.3g}", f"{row.figure:.4g}", row.figure_is)
    console(json).print(table)
    write_json({**_machine(), "seed": seed, "protect": [asdict(row) for row in rows]}, json)


def _directions(seed: int, json: str | None) -> None:
    """Measure and show what the directions of networks at an image cost."""
    rows: list[DirectionRow] = []
    with progress("bench") as report:
        for index, name in enumerate(LOOKED_AT):
            report(index, len(LOOKED_AT), name)
            rows.append(measure_directions(name, seed))
    table = _table(["outputs at an image", "method"], ["n", "m", "s", "× ours", "residual", "largest σ of the least"])
    for row in rows:
        ours = (f"{row.local:.3f}", "", f"{row.residual:.0e}", f"{row.sigma:.0e}")
        power = (f"{row.power:.3f}", f"{row.faster_power:.1f}", f"{row.residual_power:.0e}", f"{row.sigma_power:.0e}")
        exact = (f"{row.exact:.3f}", f"{row.faster_exact:.1f}", f"{row.residual_exact:.0e}", f"{row.sigma_exact:.0e}")
        table.add_row(row.network, "local", str(row.inputs), str(row.outputs), *ours)
        table.add_row("", "plenoptic, power", "", "", *power)
        table.add_row("", "plenoptic, exact", "", "", *exact)
    console(json).print(table)
    write_json({**_machine(), "seed": seed, "directions": [asdict(row) for row in rows]}, json)


def _certificates(before: Path | None, seed: int, json: str | None) -> None:
    """Measure and show what certificates and audits cost."""
    rows: list[StemRow | AuditRow] = []
    total = len(certified.SIDES) + len(certified.AUDITS)
    with progress("bench") as report:
        for index, row in enumerate(certified.certificates(before)):
            rows.append(row)
            report(index + 1, total, row.network if isinstance(row, AuditRow) else f"stem at {row.side} pixels")
    stems = [row for row in rows if isinstance(row, StemRow)]
    audits = [row for row in rows if isinstance(row, AuditRow)]
    screen = console(json)
    table = _table(["7×7 stem, 3→64, at", "certificate", "smallest σ"], ["is", "before s", "s"])
    for stem in stems:
        side, sigma = f"{stem.side}×{stem.side}", f"{stem.relation} {stem.sigma:.3g}"
        smallest = _number(stem.smallest, "{:.3g}")
        table.add_row(side, stem.kind, sigma, smallest, _number(stem.before, "{:.2f}"), f"{stem.seconds:.2f}")
    screen.print(table)
    screen.print()
    table = _table(["audit", "layers"], ["before s", "s", "× before", "run once s", "× once"])
    for audit in audits:
        table.add_row(
            audit.network,
            "yes" if audit.layers else "no",
            _number(audit.before, "{:.1f}"),
            f"{audit.seconds:.1f}",
            _number(audit.before and audit.seconds / audit.before, "{:.2f}"),
            _number(audit.once, "{:.1f}"),
            _number(audit.once and audit.seconds / audit.once, "{:.2f}"),
        )
    screen.print(table)
    measured = {"stems": [asdict(row) for row in stems], "audits": [asdict(row) for row in audits]}
    write_json({**_machine(), "seed": seed, **measured}, json)


def _point(row: PointRow) -> Table:
    table = _table(
        [f"d {row.dim}, N {row.count}, N_adv {row.noise}, m {row.width}"], ["s", "× faster", "accuracy", "control"]
    )
    table.add_row(f"{row.epochs:,} epochs, extrapolated", f"{row.protocol:.0f}", "", "", "")
    table.add_row(
        "gradient descent on the logarithm of the loss",
        f"{row.descent:.2f}",
        f"{row.faster_descent:.0f}",
        f"{row.accuracy_descent:.2f}",
        f"{row.control_descent:.2f}",
    )
    table.add_row(
        "quadratic programmes",
        f"{row.programme:.2f}",
        f"{row.faster_programme:.0f}",
        f"{row.accuracy_programme:.2f}",
        f"{row.control_programme:.2f}",
    )
    return table


def _attacks(rows: list[AttackRow]) -> Table:
    headings = ["foolbox", "ours", "bfloat16", "network alone", "× faster", "× (bfloat16)", "success"]
    table = _table([f"L2 PGD, {rows[0].steps} steps, µs per image"], headings)
    for row in rows:
        hits = (row.success_foolbox, row.success_single, row.success_bfloat16)
        table.add_row(
            row.network,
            f"{row.foolbox * 1e6:.0f} (by {row.batch})",
            *(f"{each * 1e6:.0f}" for each in (row.single, row.bfloat16, row.network_alone)),
            f"{row.faster_single:.2f}",
            f"{row.faster_bfloat16:.2f}",
            " ".join(f"{hit:.3f}" for hit in hits),
        )
    return table


def _machine(device: torch.device | None = None) -> dict[str, Any]:
    """What the figures were measured on and with; of a CUDA device its name too."""
    versions = {"torch": torch.__version__, "scipy": scipy.__version__}
    found = {"machine": platform.machine(), "threads": torch.get_num_threads(), **versions}
    if device is None or device.type == "cpu":
        return found
    return {**found, "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)}


def _sides(sizes: str | None) -> list[int] | None:
    if sizes is None:
        return None
    words = [word.strip() for word in sizes.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ValueRangeError(f"--sizes takes image sides with commas between them, such as 32,64; got {sizes!r}")
    return [int(word) for word in words]


def _table(left: list[str], right: list[str], last: str | None = None) -> Table:
    table = Table(*left, box=None, header_style="bold")
    for heading in right:
        table.add_column(heading, justify="right")
    if last:
        table.add_column(last)
    return table


def _ours(rows: list[BenchRow]) -> Table:
    headings = ["n", "dim", "set-up s", "kept MB", "peak MB", "one / LB", "64 / LB", "passes", "residual"]
    table = _table(["case", "solver"], headings)
    for row in rows:
        passes = row.iterations if row.iterations is not None else row.passes
        table.add_row(
            row.name,
            row.solver,
            str(row.in_dim),
            str(row.dim),
            f"{row.setup:.2f}",
            f"{row.kept / 1e6:.1f}",
            f"{row.peak_setup / 1e6:.0f}",
            f"{row.ratio_1:.2f}",
            f"{row.ratio_64:.2f}" + (f" ({row.batch})" if row.batch < 64 else ""),
            "" if passes is None else str(passes),
            f"{row.residual:.1e}",
        )
    return table


def _never_begun(row: BaselineRow, others: list[BaselineRow]) -> bool:
    """Whether the row's baseline was skipped on every case for the same reason."""
    return row.skipped is not None and {other.skipped for other in others if other.rival == row.rival} == {row.skipped}


def _theirs(others: list[BaselineRow], ours: dict[str, BenchRow]) -> Table:
    headings = ["set-up s", "kept MB", "one s", "64 s", "64 / ours", "residual"]
    table = _table(["case", "method"], headings, "note")
    before = ""
    for row in others:
        name, before = row.name if row.name != before else "", row.name
        notes = [row.skipped] if row.skipped else []
        if not row.finished:
            notes.append(f"stopped after {row.iterations} iterations, so at least")
        elif row.iterations is not None:
            notes.append(f"{row.iterations} iterations")
        if row.extrapolated:
            notes.append("64 times one")
        mine = ours.get(row.name)
        times = row.seconds_64 / mine.seconds_64 if row.seconds_64 is not None and mine else None
        table.add_row(
            name,
            row.rival,
            _number(row.setup, "{:.2f}"),
            _number(row.kept and row.kept / 1e6, "{:.1f}"),
            _number(row.seconds_1, "{:.3g}"),
            _number(row.seconds_64, "{:.3g}"),
            _number(times, "{:.3g}×"),
            _number(row.residual, "{:.1e}"),
            "; ".join(notes),
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
