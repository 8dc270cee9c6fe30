"""Resizer identification: rows, claims and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.intervals import of_share
from ..common.pictures import INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import WAYS, ResizerIdentificationSettings

WANTED = 0.95
"""Share of resizers that are to be named rightly."""


def _found(done: Parts, way: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done[way.replace(" ", "-").replace("'", "")].values["found"]
    return found


def rows(s: ResizerIdentificationSettings, done: Parts) -> list[Row]:
    """Shares that are named rightly, queries, every confusion, and the control."""
    made = []
    for way in WAYS:
        found = _found(done, way)
        if not found:
            made.append(Row(way, "named rightly", None, reason="no library is installed"))
            continue
        right = sum(each["right"] for each in found)
        share = right / len(found)
        made.append(
            Row(
                way, "named rightly", share, interval=of_share(right, len(found)), reason=f"of {len(found)}", form=".3f"
            )
        )
        queries = [each["queries"] for each in found]
        made.append(Row(way, "queries, mean", sum(queries) / len(queries), form=".1f"))
        made.append(Row(way, "queries, most", max(queries), form=".0f"))
        for each in found:
            if not each["right"]:
                told = ", ".join(each["told"]) or "none, or several that were not told apart"
                made.append(Row(f"{each['resizer']}, {way}", "named rightly", 0.0, reason=f"told: {told}", form=".0f"))
    control = done["control"].values["found"]
    if control:
        refused = sum(each["refused"] for each in control)
        interval = of_share(refused, len(control))
        what = "no resizer is named where the right one is no candidate"
        made.append(Row("control", what, refused / len(control), interval=interval, control=True, form=".3f"))
    return made


def claims(s: ResizerIdentificationSettings, done: Parts) -> list[Claim]:
    """Most are named rightly, each way, and the control names none."""
    made = []
    for way in WAYS:
        found = _found(done, way)
        right = sum(each["right"] for each in found)
        most = max((each["queries"] for each in found), default=0)
        made.append(
            Claim(
                f"{way}: {right} of {len(found)} resizers are named rightly, by at most {most} queries",
                right >= WANTED * len(found) if found else None,
            )
        )
    control = done["control"].values["found"]
    refused = sum(each["refused"] for each in control)
    text = f"where the right resizer is no candidate, none is named in {refused} of {len(control)} cases"
    return [*made, Claim(text, refused >= WANTED * len(control) if control else None)]


def draw(s: ResizerIdentificationSettings, done: Parts, folder: Path) -> None:
    """Queries of each identification."""
    figure = new_figure(7, 3)
    axes = figure.add_subplot()
    plain(axes)
    for at, way in enumerate(WAYS):
        found = _found(done, way)
        for right, mark, colour in ((True, "o", MUTED), (False, "x", INK)):
            queries = sorted(each["queries"] for each in found if each["right"] is right)
            axes.plot(
                queries, [at + 0.6 * k / max(len(found), 1) for k in range(len(queries))], mark, color=colour, ms=3
            )
    axes.set_yticks([at + 0.3 for at in range(len(WAYS))], WAYS, size=8)
    axes.set_xlim(0, s.queries + 2)
    axes.set_xlabel("queries:  ● named rightly  × not", size=8)
    save(figure, folder / "queries.png")
