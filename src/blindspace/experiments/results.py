"""Results as Markdown, the paper's figures beside ours: one file per experiment, and one page of what all say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import FileError
from ..files import writing
from .experiment import Claim, Result, Row, Verdict
from .registry import NAMES
from .verdicts import QUESTIONS, answer, tables_of_verdicts

MARKS = {True: "holds", False: "**does not hold**", None: "too small to decide"}

_HEAD = """# Results

Every table and figure of *Seeing is not always believing: the space of harmless perturbations* (arXiv 2402.02095), what
goes beyond it, and the experiments that decide *The dimpled manifold model of adversarial examples in machine learning*
(arXiv 2106.10151). This page is generated: `blindspace reproduce all --preset cpu` writes it anew, with the pictures
and, for each experiment, all figures as `table.md` and `result.json`. "Reference" is the paper's figure where it has
one, else one that others, or earlier and smaller measurements of our own, found for the same quantity; "95 %" is a
confidence interval over images or random draws. Controls must not show the effect that they are compared with. The
networks of this preset are trained for a few epochs and evaluated on fewer images than the paper's; each result says
how many, and how accurate its networks are.
"""


def markdown(result: Result) -> str:
    """A result's claims, rows and settings, under a heading of its own."""
    return "\n".join([f"# {_heading(result)}", "", *_statements(result), *_figures(result)]) + "\n"


def _statements(result: Result) -> list[str]:
    """What a result asks and what it says, in lines."""
    lines = [f"*{result.source[:1].upper()}{result.source[1:]}.* {result.question}", ""]
    if result.claims:
        lines += [*(f"- {MARKS[claim.holds]}: {claim.text}" for claim in result.claims), ""]
    if result.verdicts:
        lines += [*(f"- {QUESTIONS[each.question].claim} **{answer(each)}**" for each in result.verdicts), ""]
    return lines


def _figures(result: Result) -> list[str]:
    """All figures of a result, and what they were computed with, in lines."""
    lines: list[str] = []
    for heading, control in (("", False), ("Controls", True)):
        rows = [row for row in result.rows if row.control is control]
        if rows:
            lines += [f"**{heading}**", ""] if heading else []
            lines += [*_table(rows), ""]
    lines += [f"- {_network(network)}" for network in result.networks]
    settings = ", ".join(f"{key} {_setting(value)}" for key, value in result.settings.items())
    versions = ", ".join(f"{name} {number}" for name, number in result.versions.items())
    return [*lines, f"- settings: {settings}", f"- {versions}"]


def _table(rows: Sequence[Row]) -> list[str]:
    """A table of rows; columns in which no row has an entry are left out."""
    cells = [row.cells() for row in rows]
    heads = Row.HEADS
    shown = [index for index in range(len(heads)) if index in (0, 1, 3) or any(cell[index] for cell in cells)]
    right = (2, 3, 4, 5)
    lines = [[heads[index] for index in shown], ["---:" if index in right else "---" for index in shown]]
    lines += [[cell[index].replace("|", "\\|") for index in shown] for cell in cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def _network(network: dict[str, object]) -> str:
    accuracy = network.get("test_accuracy")
    measured = f"; test accuracy {accuracy:.2%}" if isinstance(accuracy, float) else ""
    epochs = network.get("epochs")
    return f"{network['name']}: {network.get('dataset')}, {epochs} epochs, seed {network.get('seed')}{measured}"


def _setting(value: object) -> str:
    """A setting in words; JSON turns tuples into lists, and both read alike."""
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_setting, value)) + ")"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(each)}" for key, each in value.items())
    return str(value)


def write_page(folder: Path, names: Sequence[str] = NAMES) -> Path:
    """Write ``README.md`` with what every result in a folder says, its pictures, and the file of its figures.

    Args:
        folder: Folder of results, one folder per experiment in it.
        names: Experiments in the order of the page; those without a result are listed as not run.

    Raises:
        FileError: A result in the folder is damaged, or the folder cannot be written.
    """
    found = [read(folder / name / "result.json") for name in names if (folder / name / "result.json").is_file()]
    verdicts = tables_of_verdicts([(f"[{r.name}](#{_anchor(r)})", verdict) for r in found for verdict in r.verdicts])
    lines = [_HEAD, *verdicts, "| | | | claims that hold |", "|---|---|---|---|"]
    lines += [f"| [{r.name}](#{_anchor(r)}) | {r.title} | {r.source} | {_held(r)} |" for r in found]
    missing = [name for name in names if name not in {result.name for result in found}]
    lines += ["", f"Not run here: {', '.join(missing)}."] if missing else []
    for result in found:
        lines += ["", f"## {_heading(result)}", "", *_statements(result), f"- [all figures]({result.name}/table.md)"]
        run = folder / result.name / "run.json"
        if run.is_file():
            lines += [f"- {json.loads(run.read_text())['minutes']:.1f} minutes"]
        lines += [""] + [f"{_shown(result, picture)}\n" for picture in result.pictures]
    path = folder / "README.md"
    with writing(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def _shown(result: Result, picture: str) -> str:
    """A picture of a result in the page; one that is a page itself is linked, as pages cannot stand in Markdown."""
    target = f"{result.name}/{picture}"
    if picture.endswith(".html"):
        return f"[{result.title}: {Path(picture).stem.replace('-', ' ')}, a page to be opened in a browser]({target})"
    return f"![{result.title}]({target})"


def read(path: Path) -> Result:
    """A result as ``run`` wrote it.

    Raises:
        FileError: The file is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row.from_dict(row) for row in found.pop("rows")]
        claims = [Claim(**claim) for claim in found.pop("claims")]
        verdicts = [
            Verdict(**{**each, "rows": list(map(Row.from_dict, each["rows"]))})
            for each in found.pop("verdicts", [])
            if each["question"] in QUESTIONS  # of an earlier version, a question may be gone
        ]
        return Result(**found, rows=rows, claims=claims, verdicts=verdicts)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise FileError(f"{path} is damaged; delete it, or reproduce it again") from error


def _heading(result: Result) -> str:
    return f"{result.name}: {result.title}"


def _anchor(result: Result) -> str:
    kept = "".join(each for each in _heading(result).lower() if each.isalnum() or each in " -_")
    return kept.replace(" ", "-")


def _held(result: Result) -> str:
    judged = [claim.holds for claim in result.claims if claim.holds is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else MARKS[None]
