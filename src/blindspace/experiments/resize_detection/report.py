"""Resize detection: rows, claims and pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...evidence import conformal
from ...evidence.roc import Roc, roc
from ..common.intervals import of_share
from ..common.pictures import INK, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Parts
from .baselines import NAMES
from .measure import part_name
from .settings import CONTROL, ResizeDetection

AIM = 0.99
"""Area that is aimed at, at 1 % false positives."""

RATE = 0.01


def rows(s: ResizeDetection, done: Parts) -> list[Row]:
    """Clean pictures flagged; then each resizer and ratio: ours without and with knowledge of it, and the baselines."""
    limit, clean = _threshold(s, done), _clean(done)
    made = [Row("reference", f"threshold for {RATE:.0%}", limit, form=".2f")]
    for name, scores in done["clean"].arrays.items():
        made.append(_share(f"clean, {name}", "flagged", scores > limit))
        made.append(Row(f"clean, {name}", "largest score", float(scores.max()), form=".2f"))
    made.append(_share("clean, all", "flagged", clean > limit))
    for name in (*s.resizers, CONTROL):
        for ratio in s.ratios if name != CONTROL else s.control:
            part = done[part_name(name, ratio)]
            case, a, control = f"{name}, ratio {ratio:g}", part.arrays, name == CONTROL
            moved = f"the images differ by {float(a['moved'].mean()):.3f} in the root mean square"
            made.append(_area(case, "AUC, resizer unknown", roc(clean, a["unknown"]), control, moved))
            made.append(_share(case, "flagged, resizer unknown", a["unknown"] > limit, control))
            made.append(_area(case, "AUC, resizer known", roc(a["clean known"], a["known"]), control))
            for index, baseline in enumerate(NAMES):
                curve = roc(a["clean baselines"][:, index], a["baselines"][:, index])
                made.append(_area(case, f"AUC, baseline: {baseline}", curve, control))
            for what in ("sizes", "resizers"):
                count, of = part.values[f"{what} named"], part.values["images"]
                made.append(
                    Row(case, f"{what} named rightly", count / of, None, of_share(count, of), control, "", ".0%")
                )
    return made


def _threshold(s: ResizeDetection, done: Parts) -> float:
    scores = done["reference"].arrays["scores"]
    return conformal.threshold(scores, max(RATE, 1.01 / (1 + len(scores))))


def _clean(done: Parts) -> Tensor:
    return torch.cat(list(done["clean"].arrays.values()))


def _share(case: str, quantity: str, flagged: Tensor, control: bool = False) -> Row:
    count, of = int(flagged.sum()), len(flagged)
    return Row(case, quantity, count / of, None, of_share(count, of), control, f"{count} of {of}", ".1%")


def _area(case: str, quantity: str, curve: Roc, control: bool, reason: str = "") -> Row:
    return Row(case, quantity, curve.auc, None, (curve.low, curve.high), control, reason, ".4f")


def claims(s: ResizeDetection, done: Parts) -> list[Claim]:
    """The area over all resizers at ratios that hide anything, and that of the best baseline on the same images."""
    limit, clean = _threshold(s, done), _clean(done)
    cases = [part_name(name, ratio) for name in s.resizers for ratio in s.ratios if _hides(name, ratio)]
    unknown = torch.cat([done[case].arrays["unknown"] for case in cases])
    curve, flagged = roc(clean, unknown), int((unknown > limit).sum())
    best = max(
        roc(
            torch.cat([done[case].arrays["clean baselines"][:, index] for case in cases]),
            torch.cat([done[case].arrays["baselines"][:, index] for case in cases]),
        ).auc
        for index in range(len(NAMES))
    )
    small = s.preset == "smoke"
    return [
        Claim(
            f"without knowing the resizer, the area over {len(unknown)} images made for a resize is {curve.auc:.4f} "
            f"({curve.low:.3f} to {curve.high:.3f}), and {flagged} of them are flagged where "
            f"{int((clean > limit).sum())} of {len(clean)} clean ones are",
            None if small else curve.auc >= AIM,
        ),
        Claim(
            f"the best of the baselines, which are told the resizer and the size, has {best:.4f} on the same images",
            None if small else best < curve.auc,
        ),
    ]


def _hides(name: str, ratio: float) -> bool:
    """Whether the resize differs from an average: at a ratio of 2, bilinear is one, and bicubic nearly."""
    return "nearest" in name or ratio > 2


def draw(s: ResizeDetection, done: Parts, folder: Path) -> None:
    """The scores of clean pictures and of images made for each resize, one line of dots each."""
    lines = [(f"clean, {name}", scores, "#8a9099") for name, scores in done["clean"].arrays.items()]
    lines += [
        (name, torch.cat([done[part_name(name, ratio)].arrays["unknown"] for ratio in s.ratios]), "#1f5fbf")
        for name in s.resizers
    ]
    if s.control:
        scores = torch.cat([done[part_name(CONTROL, ratio)].arrays["unknown"] for ratio in s.control])
        lines.append((f"{CONTROL}, antialiased", scores, "#2d7d46"))
    figure = new_figure(8.5, 1.2 + 0.3 * len(lines))
    axes = plain(figure.subplots(), "", "score without knowledge of the resizer; dashed: the threshold")
    for down, (_, scores, colour) in enumerate(lines):
        axes.plot(scores.numpy(), [-down] * len(scores), ".", color=colour, markersize=4, alpha=0.6)
    axes.axvline(_threshold(s, done), color="#b3304f", linewidth=1, linestyle=(0, (2, 3)))
    axes.set_yticks([-down for down in range(len(lines))], [name for name, _, _ in lines], color=INK)
    save(figure, folder / "resize-detection.png")
