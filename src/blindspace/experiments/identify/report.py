"""Identify: rows, claims and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...evidence._identify import SAME
from ..common.intervals import of_share
from ..common.pictures import INK, MUTED, Line, new_figure, plain, plot, save
from ..experiment import Claim, Row
from ..parts import Parts
from .querying import WAYS, by_labels, nearest
from .settings import KEPT, MOVED, SHIPPED, STRANGER, Identify


def _curves(s: Identify, a: dict[str, Tensor]) -> tuple[list[float], list[float]]:
    """Correct and false identification by the labels of 1, …, N images."""
    counts = range(1, s.count + 1)
    right = [by_labels(a["own label"], a["own control"], n) for n in counts]
    pairs = list(zip(a["label"], a["control"], strict=True))
    return right, [sum(by_labels(label, control, n) for label, control in pairs) / len(pairs) for n in counts]


def rows(s: Identify, done: Parts) -> list[Row]:
    """Which network is identified as which; under processing; by labels alone; and how near an impostor may come."""
    made = []
    for each in done["matrix"].values["queried"]:
        index = _own(done, each)
        seen = f"identified as {each['match']}" if each["match"] else "not identified"
        least = min(change for j, change in enumerate(each["change"]) if j != index)
        control = each["kind"] == STRANGER
        if index is not None:
            what = "change by its own probe" if each["kind"] == "candidate" else f"change by the probe of {SHIPPED}"
            made.append(Row(each["name"], f"{what}, share of the control's", each["change"][index], reason=seen))
        made.append(Row(each["name"], "least change by another's probe", least, control=control, reason=seen))
    for name in WAYS:
        changes = done["matrix"].arrays[f"way {name}"]
        count, of = nearest(changes)
        own = float(changes.diagonal().median())
        median = f"the own probe's change is {own:.2g} of the control's in the median"
        case = f"probes within the pixel range, on the way {name}"
        share = Row(case, "own probe moves least, one image", count / of, None, of_share(count, of), False, median)
        made.append(replace(share, form=".1%"))
    return made + _impostor_rows(s, done["impostors"].arrays)


def _own(done: Parts, queried: dict[str, object]) -> int | None:
    """Index of a network's own probe: a copy's is that of the original, a stranger has none."""
    names: list[str] = done["matrix"].values["candidates"]
    if queried["kind"] == STRANGER:
        return None
    return names.index(str(queried["name"])) if queried["kind"] == "candidate" else 0


def _impostor_rows(s: Identify, a: dict[str, Tensor]) -> list[Row]:
    case = f"{len(a['change'])} networks with random stems"
    false = a["change"] <= SAME
    whole, single = int(false.all(1).sum()), int(false.sum())
    made = [
        Row(case, f"false identification, {s.count} images", whole / len(false), interval=of_share(whole, len(false))),
        Row(case, "false identification, one image", single / false.numel(), interval=of_share(single, false.numel())),
        Row(case, "least change by the probe, share of the control's", float(a["change"].min())),
    ]
    right, wrong = _curves(s, a)
    for n in sorted({1, min(5, s.count), min(10, s.count), min(20, s.count), s.count}):
        reason = "identified if no probe changes a label though a control does"
        made.append(Row(f"labels alone, {n} images", "right identification", right[n - 1], reason=reason, form=".1%"))
        made.append(Row(f"labels alone, {n} images", "false identification", wrong[n - 1], form=".2%"))
    for share, change in zip(s.drifts, a["drift"], strict=True):
        seen = f"identified as {SHIPPED}" if float(change.max()) <= SAME else "not identified"
        made.append(Row(f"stem changed by {share:.0e}", "change by its probe", float(change.max()), reason=seen))
    return made


def claims(s: Identify, done: Parts) -> list[Claim]:
    """Candidates are recognised, copies with the same front are indistinguishable, and no other network is mistaken."""
    queried = done["matrix"].values["queried"]
    candidates = [each for each in queried if each["kind"] == "candidate"]
    right = [each["match"] == each["name"] for each in candidates]
    largest = max(each["change"][index] for index, each in enumerate(candidates))
    least = min(c for index, each in enumerate(candidates) for j, c in enumerate(each["change"]) if j != index)
    same = [each["match"] == SHIPPED for each in queried if each["kind"] == KEPT]
    moved = [each for each in queried if each["kind"] == MOVED]
    strangers = [each["match"] for each in queried if each["kind"] == STRANGER]
    taken = [each["name"].partition(",")[0] for each in moved if each["match"] == SHIPPED]
    a = done["impostors"].arrays
    false = int((a["change"] <= SAME).sum())
    low, high = of_share(false, a["change"].numel())
    shares = {name: nearest(done["matrix"].arrays[f"way {name}"]) for name in WAYS}
    found = ", ".join(f"{name} {count / of:.0%}" for name, (count, of) in shares.items())
    return [
        Claim(
            f"{sum(right)} of {len(right)} candidates are recognised; their own probe does at most {largest:.1e} of "
            f"what its control does, another's at least {least:.2g}",
            all(right),
        ),
        Claim(
            f"copies that keep the stem are indistinguishable from the original: {sum(same)} of {len(same)} are "
            "identified as it",
            all(same),
        ),
        Claim(
            f"of the copies with a changed stem, which the original's probe changes least, {len(taken)} of "
            f"{len(moved)} are identified as it ({', '.join(taken) or 'none'}), and none as another network; "
            f"{sum(map(bool, strangers))} strangers are identified",
            all(min(each["change"]) == each["change"][0] and each["match"] in (None, SHIPPED) for each in moved)
            and not any(strangers),
        ),
        Claim(
            f"{false} of {a['change'].numel()} queries of networks with random stems, one image each, end in a false "
            f"identification (95 %: {low:.2%} to {high:.2%})",
            false == 0,
        ),
        Claim(
            f"the probe that moves one image's output least is the network's own, within the pixel range: {found}",
            None if s.preset == "smoke" else min(count / of for count, of in map(shares.__getitem__, WAYS[:2])) >= 0.95,
        ),
    ]


def draw(s: Identify, done: Parts, folder: Path) -> None:
    """Changes by every probe; how similar another stem must be; how many images identification by labels needs."""
    _matrix_picture(done, folder / "identify.png")
    figure = new_figure(12.5, 4.2)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.5)
    a = done["impostors"].arrays
    plain(left, "change by the probe, share of the control's", "change of the stem's weights, share of their norm")
    left.set_xscale("log")
    left.set_yscale("log")
    left.minorticks_off()
    own = float(a["own"].max())
    plot(
        left,
        [
            Line("largest of all images", s.drifts, a["drift"].amax(1).tolist(), "own"),
            Line("median", s.drifts, a["drift"].median(1).values.tolist(), "second"),
            Line("identified below", s.drifts, [SAME] * len(s.drifts), "paper", True),
            Line("itself: rounding", s.drifts, [own] * len(s.drifts), "control", True),
        ],
    )
    plain(right, "identification by labels alone", "images queried")
    right.set_ylim(-0.03, 1.03)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    counts = list(range(1, s.count + 1))
    found, wrong = _curves(s, a)
    plot(right, [Line("the network itself", counts, found, "own"), Line("another stem", counts, wrong, "shuffled")])
    save(figure, folder / "identify-limits.png")


def _matrix_picture(done: Parts, path: Path) -> None:
    facts = done["matrix"].values
    names, queried = facts["candidates"], facts["queried"]
    change = torch.tensor([each["change"] for each in queried], dtype=torch.float64).clamp(min=1e-9)
    figure = new_figure(1.9 * len(names) + 2.2, 0.42 * len(queried) + 1.4)
    axes = figure.subplots()
    shown = axes.imshow(change.log10().numpy(), cmap="YlGnBu_r", vmin=-7, vmax=0.3, aspect="auto")
    for i, each in enumerate(queried):
        for j, value in enumerate(each["change"]):
            mark = " ✓" if each["match"] == names[j] else ""
            colour = "white" if value < 1e-3 else INK
            axes.text(j, i, f"{value:.1g}{mark}", ha="center", va="center", size=9, color=colour)
    axes.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axes.set_yticks(range(len(queried)), [each["name"] for each in queried])
    axes.xaxis.tick_top()
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.set_frame_on(False)
    axes.set_title("change of the outputs by the probe of …", loc="left", color=INK, size=11, pad=12)
    bar = figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.02)
    bar.set_label("log₁₀ of the share of the control's", color=MUTED, size=9)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=0)
    bar.outline.set_visible(False)
    save(figure, path)
