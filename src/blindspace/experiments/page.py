"""The page of all results: every table and picture of a folder of results, in one Markdown file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import FileError
from ..files import writing
from .experiment import Claim, Result, Row
from .registry import NAMES
from .tables import body

_HEAD = """# Results

Every table and figure of *Seeing is not always believing: the space of harmless perturbations* (arXiv 2402.02095), and
what goes beyond it. This page is generated: `blindspace reproduce all --preset cpu` writes it anew, with the pictures
and a `result.json` each. Every row has the paper's figure beside ours where the paper has one; "95 %" is an interval
over images or draws. What is called a control must not have the effect that it stands beside. The preset's networks are
trained for a few epochs and read fewer images than the paper's; how many and how well stands with each.
"""


def write_page(folder: Path) -> Path:
    """Write ``README.md`` into a folder of results.

    Raises:
        FileError: a result in it is damaged, or the folder cannot be written.
    """
    lines = [_HEAD]
    found = [read(folder / name / "result.json") for name in NAMES if (folder / name / "result.json").is_file()]
    lines += ["| | | | claims that hold |", "|---|---|---|---|"]
    lines += [f"| [{r.name}](#{_anchor(r)}) | {r.title} | {r.source} | {_held(r)} |" for r in found]
    missing = [name for name in NAMES if name not in {result.name for result in found}]
    lines += ["", f"Not run here: {', '.join(missing)}."] if missing else []
    for result in found:
        lines += ["", f"## {_heading(result)}", "", *body(result)]
        run = folder / result.name / "run.json"
        if run.is_file():
            lines += [f"- {json.loads(run.read_text())['minutes']:.1f} minutes"]
        lines += [""] + [f"![{result.title}]({result.name}/{picture})\n" for picture in result.pictures]
    path = folder / "README.md"
    with writing(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Result:
    """A result as ``run`` wrote it.

    Raises:
        FileError: it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for row in found.pop("rows"):
            row.pop("difference")
            interval = row.pop("interval")
            rows.append(Row(**row, interval=interval and (interval[0], interval[1])))
        claims = [Claim(**claim) for claim in found.pop("claims")]
        return Result(**found, rows=rows, claims=claims)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise FileError(f"{path} is damaged; delete it, or reproduce it again") from error


def _heading(result: Result) -> str:
    return f"{result.name}: {result.title}"


def _anchor(result: Result) -> str:
    kept = "".join(each for each in _heading(result).lower() if each.isalnum() or each in " -_")
    return kept.replace(" ", "-")


def _held(result: Result) -> str:
    judged = [claim.holds for claim in result.claims if claim.holds is not None]
    return f"{sum(judged)} of {len(judged)}" if judged else "too small to tell"
