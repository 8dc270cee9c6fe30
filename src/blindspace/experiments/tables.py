"""Results as Markdown: the paper's figure beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from .experiment import Claim, Result, Row

_MARKS = {True: "holds", False: "**does not hold**", None: "too small to tell"}


def markdown(result: Result) -> str:
    """A result's claims, rows and settings, under a heading of its own."""
    return "\n".join([f"# {result.name}: {result.title}", "", *body(result)]) + "\n"


def body(result: Result) -> list[str]:
    """The lines of a result, without a heading."""
    lines = [f"*{result.source[:1].upper()}{result.source[1:]}.* {result.question}", ""]
    if result.claims:
        lines += [*(f"- {_claim(claim)}" for claim in result.claims), ""]
    for heading, control in (("", False), ("Controls", True)):
        rows = [row for row in result.rows if row.control is control]
        if rows:
            lines += [f"**{heading}**", ""] if heading else []
            lines += [*_table(rows), ""]
    for network in result.networks:
        lines += [f"- {_network(network)}"]
    settings = ", ".join(f"{key} {_setting(value)}" for key, value in result.settings.items())
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    return [*lines, f"- settings: {settings}", f"- {versions}"]


def _claim(claim: Claim) -> str:
    return f"{_MARKS[claim.holds]}: {claim.text}"


def _table(rows: Sequence[Row]) -> list[str]:
    """Columns in which no row has anything are left out."""
    cells = [
        (
            row.case,
            row.quantity,
            _figure(row.paper, row.form),
            _figure(row.ours, row.form) if row.ours is not None else "not run",
            f"{row.interval[0]:{row.form}} … {row.interval[1]:{row.form}}" if row.interval else "",
            _figure(row.difference, f"+{row.form}"),
            row.reason,
        )
        for row in rows
    ]
    heads = ("case", "quantity", "paper", "ours", "95 %", "difference", "reason")
    shown = [index for index in range(len(heads)) if index in (0, 1, 3) or any(cell[index] for cell in cells)]
    right = (2, 3, 4, 5)
    lines = [[heads[index] for index in shown], ["---:" if index in right else "---" for index in shown]]
    lines += [[cell[index].replace("|", "\\|") for index in shown] for cell in cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _network(network: dict[str, object]) -> str:
    accuracy = network.get("test_accuracy")
    measured = f"; {accuracy:.2%} of the test images right" if isinstance(accuracy, float) else ""
    epochs = network.get("epochs")
    return f"{network['name']}: {network.get('dataset')}, {epochs} epochs, seed {network.get('seed')}{measured}"


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(str, value)) + ")"
    return str(value)
