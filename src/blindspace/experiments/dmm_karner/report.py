"""The published reproduction: rows, claims, the verdict and the picture."""

from __future__ import annotations

from math import isinf
from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import Estimate, median, of_share, ratio_of_medians
from ..common.pictures import COLOURS, MUTED, new_figure, plain, save
from ..experiment import Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import PUBLISHED, RANDOM, SELECTED, SPACES, TANGENT, WAYS, Karner, part_name

FIGURES = {
    "path": "path length",
    "norm": "norm at the end of the path",
    "smallest": "smallest norm, pixel range not observed",
}
"""What is measured of each attack."""


def _kept(s: Karner, done: Parts) -> list[Kept]:
    return [done[part_name(seed)] for seed in range(s.seeds)]


def _name(space: str, way: str) -> str:
    return way if way == "plain" else f"{space}/{way}"


def selected(kept: Kept, space: str) -> Tensor:
    """The images that the reproduction would select: all three attacks succeed within their limits; bool ``(N,)``."""
    found = [kept.arrays[f"{_name(space, way)}/iterations"] <= WAYS[way].limit for way in WAYS]
    return torch.stack(found).all(0)


def medians(s: Karner, done: Parts, space: str, way: str, what: str, selection: bool) -> Estimate | None:
    """The median of a figure over all images, or those selected; None if there is none."""
    found = []
    for kept in _kept(s, done):
        values = kept.arrays[f"{_name(space, way)}/{what}"]
        found.append(values[selected(kept, space)] if selection else values)
    found = [values for values in found if len(values)]
    return median(found) if found else None


def ratio(s: Karner, done: Parts, space: str, way: str) -> Estimate:
    """The ratio of the median smallest norms of all images to the plain one."""
    kept = _kept(s, done)
    above = [each.arrays[f"{space}/{way}/smallest"] for each in kept]
    return ratio_of_medians(above, [each.arrays["plain/smallest"] for each in kept])


def share_selected(s: Karner, done: Parts, space: str) -> tuple[int, int]:
    """Number of images selected, and of all."""
    found = [selected(kept, space) for kept in _kept(s, done)]
    return sum(int(each.sum()) for each in found), sum(len(each) for each in found)


def rows(s: Karner, done: Parts) -> list[Row]:
    """Subspace by subspace: how many images are selected, and each figure with the selection and without."""
    made = []
    for space in SPACES:
        control = space != TANGENT
        count, of = share_selected(s, done, space)
        paper = None if control else SELECTED
        made.append(Row(space, "images selected", count / of, paper, of_share(count, of), control, form=".1%"))
        for what, words in FIGURES.items():
            for selection in (True, False):
                if what == "norm" and selection:
                    continue
                for way in WAYS:
                    made.append(_row(s, done, space, way, what, selection, words))
        for way in ("on", "off"):
            found = ratio(s, done, space, way)
            made.append(_ratio_row(space, way, found))
        outside = median([kept.arrays[f"{space}/on/outside"] for kept in _kept(s, done)])
        words = "share of the on-perturbation's norm that clipping takes off the subspace, median"
        made.append(Row(space, words, outside.value, interval=outside.interval, control=control, form=".2f"))
    return made


def _ratio_row(space: str, way: str, found: Estimate) -> Row:
    words = f"{way} / plain, smallest norms of all images"
    return Row(space, words, found.value, interval=found.interval, control=space != TANGENT, form=".2f")


def _row(s: Karner, done: Parts, space: str, way: str, what: str, selection: bool, words: str) -> Row:
    found = medians(s, done, space, way, what, selection)
    who = "images selected" if selection else "all images"
    paper = PUBLISHED[way] if selection and what == "path" and space == TANGENT else None
    reason = "other networks and another autoencoder" if paper else ""
    if not selection and what == "path":
        lost = sum(int(kept.arrays[f"{_name(space, way)}/path"].isinf().sum()) for kept in _kept(s, done))
        reason = f"attacks that do not succeed within {s.iterations} iterations: {lost}" if lost else ""
    value, interval = (None, None) if found is None else (found.value, found.interval)
    reason = "no image is selected" if found is None else reason
    return Row(f"{space}, {who}", f"{way}: {words}", value, paper, interval, space != TANGENT, reason, ".2f")


def claims(s: Karner, done: Parts) -> list[Claim]:
    """The selection reproduces the published figures; without it they are others."""
    count, of = share_selected(s, done, TANGENT)
    low, high = of_share(count, of)
    found = {way: medians(s, done, TANGENT, way, "path", True) for way in WAYS}
    words = ", ".join(f"{way} {found[way]} ({PUBLISHED[way]})" for way in WAYS)
    expected = {"plain": (0.5, 0.7), "on": (1.2, 1.5), "off": (0.6, 0.8)}
    near = all(_expected(found[way], interval) for way, interval in expected.items())
    ratios = {space: tuple(ratio(s, done, space, way) for way in ("on", "off")) for space in SPACES}
    listed = "; ".join(f"{space} {on} and {off}" for space, (on, off) in ratios.items())
    free = {way: medians(s, done, TANGENT, way, "path", False) for way in WAYS}
    longer = free["plain"] is not None and free["plain"].value > 2 * PUBLISHED["plain"]
    made = [
        Claim(
            f"its selection keeps {count} of {of} images: {count / of:.1%} [{low:.1%}, {high:.1%}], expected 3 to 5 %, "
            "published 3.8 %",
            0.03 <= count / of <= 0.05,
        ),
        Claim(
            f"median path lengths of these, published in brackets: {words}; expected 0.5 to 0.7, 1.2 to 1.5 and 0.6 to "
            "0.8",
            near,
        ),
        Claim(
            f"without the limit of 50 steps the plain path is longer: {free['plain']} instead of {found['plain']}; on "
            f"{free['on']}, off {free['off']}",
            longer,
        ),
        Claim(
            f"smallest norms of all images, on/plain and off/plain: {listed}; the random subspace has the largest "
            "on/plain, so that attacks along the manifold are cheaper than its dimension explains",
            ratios[RANDOM][0].value > max(ratios[space][0].value for space in SPACES if space != RANDOM),
        ),
    ]
    return [Claim(c.text, None) for c in made] if s.preset == "smoke" else made


def _expected(found: Estimate | None, expected: tuple[float, float]) -> bool:
    """Whether an estimate lies where it was expected."""
    if found is None:
        return False
    return expected[0] <= found.value <= expected[1]


def verdicts(s: Karner, done: Parts) -> list[Verdict]:
    """Whether the published figures are made by the selection."""
    if s.preset == "smoke":
        return [Verdict("published-norms", None, [])]
    count, of = share_selected(s, done, TANGENT)
    chosen = {way: medians(s, done, TANGENT, way, "path", True) for way in WAYS}
    all_of_them = {way: medians(s, done, TANGENT, way, "smallest", False) for way in WAYS}
    plain_norm, plain_path = all_of_them["plain"], chosen["plain"]
    made = plain_path is None or (plain_norm is not None and plain_norm.value > 1.5 * plain_path.value)
    return [
        Verdict(
            "published-norms",
            "holds" if made and count / of < 0.1 else "does not hold",
            [
                *(_row(s, done, TANGENT, way, "path", True, FIGURES["path"]) for way in WAYS),
                _row(s, done, TANGENT, "plain", "smallest", False, FIGURES["smallest"]),
            ],
            because=(
                f"it keeps {count} of {of} images, the easiest ones; of all images the smallest norms have on/plain "
                f"{ratio(s, done, TANGENT, 'on')} and off/plain {ratio(s, done, TANGENT, 'off')}, and on/plain "
                f"{ratio(s, done, RANDOM, 'on')} in a random subspace"
            ),
        )
    ]


def draw(s: Karner, done: Parts, folder: Path) -> None:
    """Medians with the selection and without, subspace by subspace."""
    figure = new_figure(11, 3.6)
    grid = figure.subplots(1, len(SPACES), sharey=True)
    figure.subplots_adjust(wspace=0.15)
    bars = (("path", True, "path, selected images", "control"), ("path", False, "path, all images", "gaussian"))
    for axes, space in zip(grid, SPACES, strict=True):
        plain(axes, space, "", "median, images in [−1, 1]" if space == SPACES[0] else "")
        for place, (what, selection, label, colour) in enumerate(
            (*bars, ("smallest", False, "smallest norm, all images", "own"))
        ):
            heights = [medians(s, done, space, way, what, selection) for way in WAYS]
            values = [0.0 if found is None or isinf(found.value) else found.value for found in heights]
            axes.bar([i + 0.27 * (place - 1) for i in range(3)], values, 0.25, color=COLOURS[colour], label=label)
        axes.set_xticks(range(3), list(WAYS))
    grid[0].legend(frameon=False, fontsize=8, labelcolor=MUTED)
    save(figure, folder / "karner.png")
