"""Exposure: rows, claims and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.pictures import INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import ExposureSettings

SAFE, OPEN = 0.15, 0.5
"""Exposures at 4 : 1 below which a resizer counts as safe here, and above which as open."""


def _ratio(s: ExposureSettings, out: int) -> str:
    return f"{s.side / out:g} : 1"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rows_of(s: ExposureSettings, done: Parts, out: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done[f"to-{out}"].values["rows"]
    return found


def rows(s: ExposureSettings, done: Parts) -> list[Row]:
    """Exposure, similarity of what people see, and what is missing at the network, per resizer and ratio."""
    made = []
    for out in s.outs:
        ratio = _ratio(s, out)
        for row in _rows_of(s, done, out):
            ways = [row["impersonation"], row["decoy"]]
            scores = [score for way in ways for score in way["scores"]]
            made.append(
                Row(
                    row["resizer"],
                    f"exposure at {ratio}",
                    row["score"],
                    reason=f"{min(scores):.2f} to {max(scores):.2f} over {len(scores)} attacks",
                    form=".3f",
                )
            )
            if all(way["ssim"] is not None for way in ways):
                ssim = _mean([value for way in ways for value in way["ssim"]])
                made.append(Row(row["resizer"], f"SSIM of what people see at {ratio}", ssim, form=".3f"))
            away = max(value for way in ways for value in way["deviation"])
            made.append(Row(row["resizer"], f"root mean square missing at the network, {ratio}, in 1/255", away))
            share = done[f"to-{out}"].values["noise"][row["resizer"]]
            made.append(
                Row(
                    row["resizer"], f"share of the way by noise of equal norm, {ratio}", share, control=True, form=".1e"
                )
            )
    return made


def claims(s: ExposureSettings, done: Parts) -> list[Claim]:
    """Which resizers are safe, and that noise does nothing."""
    out = s.outs[-2 if len(s.outs) > 1 else 0]
    ordered = sorted(_rows_of(s, done, out), key=lambda row: row["score"])
    safe = [row["resizer"] for row in ordered if row["score"] <= SAFE]
    opened = [row["resizer"] for row in ordered if row["score"] >= OPEN]
    noise = max(abs(share) for out in s.outs for share in done[f"to-{out}"].values["noise"].values())
    reached = [
        row["resizer"]
        for out in s.outs
        for row in _rows_of(s, done, out)
        if max(row["impersonation"]["deviation"] + row["decoy"]["deviation"]) > 2
    ]
    total = len(s.outs) * len(s.resizers)
    return [
        Claim(
            f"at {_ratio(s, out)}, {len(safe)} of {len(ordered)} resizers have an exposure of at most {SAFE:g} and "
            f"{len(opened)} of at least {OPEN:g}; least {ordered[0]['resizer']} ({ordered[0]['score']:.2f}), most "
            f"{ordered[-1]['resizer']} ({ordered[-1]['score']:.2f})",
            bool(safe and opened),
        ),
        Claim(
            f"in {total - len(reached)} of {total} cases every attack in eight bits leaves at most 2/255 (root mean "
            "square) missing at the network; where filters overshoot, black and white pixels cannot give the target",
            len(reached) <= total // 2,
        ),
        Claim(f"noise of equal norm goes at most {noise:.1e} of the way to the target", noise < 0.1),
    ]


def draw(s: ExposureSettings, done: Parts, folder: Path) -> None:
    """The exposure of every resizer, one mark per ratio."""
    last = {row["resizer"]: row["score"] for row in _rows_of(s, done, s.outs[-1])}
    names = sorted(last, key=lambda name: last[name])
    figure = new_figure(7, 1 + 0.17 * len(names))
    axes = figure.add_subplot()
    plain(axes)
    for mark, out in zip("ox^sd", s.outs, strict=False):
        score = {row["resizer"]: row["score"] for row in _rows_of(s, done, out)}
        colour = INK if out == s.outs[-1] else MUTED
        axes.plot([score[n] for n in names], range(len(names)), mark, color=colour, ms=3.5, label=_ratio(s, out))
    axes.set_yticks(range(len(names)), names, size=6)
    axes.set_xlim(-0.02, 1)
    axes.set_xlabel("exposure: 0 where people see what the network reads", size=8)
    axes.legend(frameon=False, fontsize=7, loc="lower right")
    save(figure, folder / "exposure.png")
