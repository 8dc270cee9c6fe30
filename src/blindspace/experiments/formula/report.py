"""Formula: rows, claims and the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.dimensions import error, verdict
from ..common.dimensions import in_words as certificate_in_words
from ..common.intervals import of_share
from ..common.pictures import COLOURS, INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .layers import COMMUTING, DEPLOYED
from .survey import Tally, tallies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from .settings import BY_HAND, GROUPS, LINEAR, OTHERS, RANDOM, TRAINED, Formula


def rows(s: Formula, done: Parts) -> list[Row]:
    """Each group's shares, then the most instructive layers, then the controls."""
    made: list[Row] = []
    for tally in tallies(done, GROUPS):
        n, left = len(tally.of), tally.all - len(tally.of)
        drawn = tally.group in RANDOM
        wrong, open_ = tally.those("wrong"), tally.those("numerical", "undecided")
        within = tally.those("wrong", meets=True)
        pattern = sum(each.get("pattern") == each["dim"] for each in wrong)
        why = f"of {n} layers" + (f"; {left} more too large to be measured" if left else "")
        because = f"{pattern} of {len(wrong)} by their pattern of zeros alone, whatever the weights" if wrong else ""
        made += [
            _share(tally.group, "n − m wrong, proved", len(wrong), n, drawn, f"{why}; {because}".rstrip("; ")),
            _share(tally.group, "rank numerical or undecided", len(open_), n, drawn),
            Row(tally.group, "largest error, dimensions", max((error(each) for each in tally.of), default=0)),
        ]
        if tally.within:
            what = "wrong where corollary 1's conditions hold"
            made.append(_share(tally.group, what, len(within), tally.within, drawn))
    made += [row for tally in tallies(done, GROUPS) for row in _cases(tally)]
    made += [
        Row(f"{each.file} ({each.source})", "n − m wrong, proved", None, reason=_NOT_RUN)
        for each in DEPLOYED
        if each.file not in s.deployed
    ]
    agree, of = _by_svd(done)
    if of:
        case, what = "random layers, all singular values", "same dimension, where it is proved"
        made.append(Row(case, what, agree / of, control=True, reason=f"of {of} layers", form=".1%"))
    return made


_NOT_RUN = "not run: set BLINDSPACE_MODELS to a folder that holds it"


def _share(case: str, what: str, count: int, of: int, drawn: bool, reason: str = "") -> Row:
    interval = of_share(count, of) if drawn else None
    return Row(case, what, count / of, interval=interval, reason=reason or f"{count} of {of}", form=".1%")


def _cases(tally: Tally) -> Iterable[Row]:
    """The layers made by hand; the largest errors of each kind in the other groups."""
    worst = sorted(tally.of, key=error, reverse=True)
    chosen = tally.of if tally.group == BY_HAND else []
    if tally.group != BY_HAND:
        for some in (
            [each for each in worst if verdict(each) == "wrong" and each["meets"]][:3],
            [each for each in worst if verdict(each) == "wrong" and not each["meets"]][:2],
            [each for each in worst if verdict(each) in ("numerical", "undecided")][:3],
        ):
            chosen = [*chosen, *some]
    for each in chosen:
        condition = "corollary 1's conditions hold" if each["meets"] else "not of corollary 1"
        mark = "" if verdict(each) == "right" else f"**{verdict(each)}**, "
        reason = f"{mark}{condition}; {certificate_in_words(each)}"
        yield Row(each["name"], "dimension", each["dim"], each["formula_dim"], reason=reason)


def _by_svd(done: Parts) -> tuple[int, int]:
    proved = [each for tally in tallies(done, GROUPS) for each in tally.those("right", "wrong") if "by_svd" in each]
    return sum(each["by_svd"] == each["dim"] for each in proved), len(proved)


def claims(s: Formula, done: Parts) -> list[Claim]:
    """Where the formula fails, and where it does not."""
    by_group = {tally.group: tally for tally in tallies(done, GROUPS)}
    within = {name: len(tally.those("wrong", meets=True)) for name, tally in by_group.items()}
    said = ", ".join(f"{within[name]} of {by_group[name].within} {name}" for name in within if by_group[name].within)
    measured = [each for tally in by_group.values() for each in tally.of]
    met = [name for name in (TRAINED, OTHERS) if name in by_group]
    used = [f"{len(by_group[name].those('wrong'))} of {len(by_group[name].of)} layers of {name}" for name in met]
    agree, of = _by_svd(done)
    linear = by_group[LINEAR]
    smallest = next(each for each in by_group[BY_HAND].of if each["name"] == COMMUTING)
    return [
        Claim(f"n − m fails where corollary 1's own conditions hold: {said}", any(within.values())),
        Claim(
            f"two independent 3×3 kernels on one channel of 6×6 pixels leave {smallest['dim']} dimensions, n − m is "
            f"{smallest['formula_dim']}: convolutions commute, so their outputs depend on each other",
            verdict(smallest) == "wrong",
        ),
        Claim(
            f"it fails in networks that are used: {'; '.join(used)}",
            None if s.preset == "smoke" else any(by_group[name].those("wrong") for name in met),
        ),
        Claim(
            f"it is right for {len(linear.those('right'))} of {len(linear.of)} random fully-connected layers",
            len(linear.those("right")) == len(linear.of),
        ),
        Claim(
            f"it never promises too much: the certified dimension is n − m or more in all {len(measured)} layers",
            all(error(each) >= 0 for each in measured),
        ),
        Claim(f"an SVD finds the same dimension for {agree} of {of} random layers", agree == of),
    ]


def draw(s: Formula, done: Parts, folder: Path) -> None:
    """The shares of the groups; every layer, certified dimension against formula."""
    found = tallies(done, GROUPS)
    figure = new_figure(12.5, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    figure.subplots_adjust(wspace=0.2)
    _bars(plain(left, "what n − m is, share of the layers", "", ""), found)
    _scatter(plain(right, "dimension, share of the inputs", "n − m", "certified"), found)
    save(figure, folder / "formula.png")


_LOOKS = {"right": "second", "wrong": "shuffled", "numerical": "gaussian", "undecided": "third"}


def _bars(axes: Axes, found: Sequence[Tally]) -> None:
    axes.grid(visible=False)
    names = []
    for row, tally in enumerate(found):
        sets = [(0.0, 0.5, False, len(tally.of))]
        if tally.within:
            sets.append((0.42, 0.22, True, tally.within))
        for below, height, meets, of in sets:
            start = 0.0
            for what, colour in _LOOKS.items():
                share = len(tally.those(what, meets=meets)) / of
                axes.barh(row + below, share, height, start, color=COLOURS[colour], alpha=0.55 if meets else 1)
                start += share
        names.append(f"{tally.group} ({len(tally.of)})")
        if tally.group in RANDOM:
            low, high = (1 - each for each in of_share(len(tally.those("right")), len(tally.of)))
            axes.plot((1 - high, 1 - low), (row, row), color=INK, linewidth=1.4)
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.3, -0.5)
    axes.set_xlim(0, 1)
    for what, colour in _LOOKS.items():
        axes.barh(0, 0, color=COLOURS[colour], label=what)
    axes.legend(frameon=False, fontsize=8.5, ncols=4, loc="upper left", bbox_to_anchor=(-0.02, -0.06), labelcolor=INK)
    axes.text(0, -0.19, "pale: where corollary 1's conditions hold", transform=axes.transAxes, size=8, color=MUTED)


def _scatter(axes: Axes, found: Sequence[Tally]) -> None:
    axes.plot((0, 1), (0, 1), "--", color=COLOURS["paper"], linewidth=1)
    for what, colour in _LOOKS.items():
        some = [each for tally in found for each in tally.those(what)]
        for meets, sign in ((True, "o"), (False, "x")):
            shown = [each for each in some if each["meets"] is meets]
            x, y = ([each[key] / each["in_dim"] for each in shown] for key in ("formula_dim", "dim"))
            axes.scatter(x, y, 22, color=COLOURS[colour], marker=sign, alpha=0.7, linewidths=1)
    axes.text(0.98, 0.04, "● corollary 1's conditions hold  × not", transform=axes.transAxes, ha="right", size=8)
