"""Resizer identification: rows, claims and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.intervals import of_share
from ..common.pictures import INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .measure import SEVERAL, part_of
from .settings import WAYS, ResizerIdentificationSettings

WANTED = 0.95
"""Share of resizers that are to be named rightly."""


def _found(done: Parts, case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done[part_of(case)].values["found"]
    return found


def _controls(done: Parts) -> list[dict[str, Any]]:
    return [each for way in WAYS for each in _found(done, f"control {way}")]


def _steps(change: float | None) -> str:
    return "not tested" if change is None else f"reads {change:.2f} steps of what the best cannot see"


def rows(s: ResizerIdentificationSettings, done: Parts) -> list[Row]:
    """Shares that are named rightly, queries, every confusion, and the controls."""
    made = []
    for case in (*WAYS, *SEVERAL):
        found, what = _found(done, case), "named rightly" if case in WAYS else "resizer and size named rightly"
        if not found:
            made.append(Row(case, what, None, reason="no library is installed"))
            continue
        right, queries = sum(each["right"] for each in found), [each["queries"] for each in found]
        interval = of_share(right, len(found))
        made.append(Row(case, what, right / len(found), interval=interval, reason=f"of {len(found)}", form=".3f"))
        made.append(Row(case, "queries, mean", sum(queries) / len(queries), form=".1f"))
        made.append(Row(case, "queries, most", max(queries), form=".0f"))
        for each in found:
            if not each["right"]:
                told = each["told"] or f"none; {_steps(each['change'])}"
                made.append(Row(f"{each['resizer']}, {case}", what, 0.0, reason=f"told: {told}", form=".0f"))
    for way in WAYS:
        control = _found(done, f"control {way}")
        if not control:
            continue
        refused = sum(each["refused"] for each in control)
        interval, what = of_share(refused, len(control)), "no resizer is named where the right one is no candidate"
        made.append(
            Row(
                f"control, {way}",
                what,
                refused / len(control),
                interval=interval,
                reason=f"of {len(control)}",
                control=True,
                form=".3f",
            )
        )
        for each in control:
            if not each["refused"]:
                told = each["told"] or "several that were not told apart"
                reason = f"told: {told}; {_steps(each['change'])}"
                made.append(
                    Row(f"{each['resizer']}, control, {way}", what, 0.0, reason=reason, control=True, form=".0f")
                )
    return made


def claims(s: ResizerIdentificationSettings, done: Parts) -> list[Claim]:
    """Most are named rightly, each way, and the controls name none."""
    made = []
    for case in (*WAYS, *SEVERAL):
        found, what = _found(done, case), "resizers" if case in WAYS else "resizers with their sizes"
        right = sum(each["right"] for each in found)
        most = max((each["queries"] for each in found), default=0)
        text = f"{case}: {right} of {len(found)} {what} are named rightly, by at most {most} queries"
        made.append(Claim(text, right >= WANTED * len(found) if found else None))
    control = _controls(done)
    refused = sum(each["refused"] for each in control)
    text = f"where the right resizer is no candidate, none is named in {refused} of {len(control)} cases"
    return [*made, Claim(text, refused >= WANTED * len(control) if control else None)]


def draw(s: ResizerIdentificationSettings, done: Parts, folder: Path) -> None:
    """Queries of each identification."""
    figure = new_figure(7, 3)
    axes = figure.add_subplot()
    plain(axes)
    cases = (*WAYS, *SEVERAL)
    for at, case in enumerate(cases):
        found = _found(done, case)
        for right, mark, colour in ((True, "o", MUTED), (False, "x", INK)):
            queries = sorted(each["queries"] for each in found if each["right"] is right)
            axes.plot(
                queries, [at + 0.6 * k / max(len(found), 1) for k in range(len(queries))], mark, color=colour, ms=3
            )
    axes.set_yticks([at + 0.3 for at in range(len(cases))], cases, size=8)
    axes.set_xlim(0, s.queries + 2)
    axes.set_xlabel("queries:  ● named rightly  × not", size=8)
    save(figure, folder / "queries.png")
