"""Blind spots: rows, claims, verdicts and the picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import Estimate, median
from ..common.pictures import gallery
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .measure import part_name
from .settings import CASES, Blindspots, Case

WAY, RMSE, SSIM = "share of the way to the target", "RMSE to the target", "SSIM with the target"
CHANGE = "largest change of a logit, of the largest logit"
PATH, RULE, START = "all logits kept", "confidence kept within 0.2", "at the start"

HALF = 0.5
"""Share of the way to the target from which on a path counts as leading to it."""

MOVES = 0.1
"""Change of a logit, as a share of the largest, from which on it is none of a detail."""

ENDS = {
    "kinks": "a minimum of the distance at kinks of the network",
    "stationary": "a stationary point of the distance",
    "reaches": "the target itself",
    "used up": "its steps used up",
}
"""How paths end, by a word of their reason."""


@dataclass(frozen=True)
class Group:
    """The finished parts of one kind of network: of each seed those of its pairs."""

    case: Case
    kept: tuple[tuple[Kept, ...], ...]

    def figures(self, of: Callable[[Kept], float]) -> list[Tensor]:
        """A figure of each pair, one tensor per seed."""
        return [torch.tensor([of(kept) for kept in seed], dtype=torch.float64) for seed in self.kept]

    def median(self, of: Callable[[Kept], float]) -> Estimate:
        """The median of a figure over pairs and seeds."""
        return median(self.figures(of))

    @property
    def all(self) -> list[Kept]:
        """All parts."""
        return [kept for seed in self.kept for kept in seed]


def found(s: Blindspots, done: Parts) -> list[Group]:
    """All kinds of networks that were measured."""
    return [
        Group(
            case,
            tuple(tuple(done[part_name(case, seed, i)] for i in range(case.pairs)) for seed in range(case.seeds)),
        )
        for case in s.cases
        if part_name(case, 0, 0) in done
    ]


def way(rule: str) -> Callable[[Kept], float]:
    """The share of the way to the target that a rule leads: 1 at the target, 0 no nearer than the image."""
    return lambda kept: 1 - kept.values["rmse"][rule] / kept.values["rmse"]["start"]


def _row(g: Group, which: str, what: str, of: Callable[[Kept], float], form: str, control: bool, why: str = "") -> Row:
    estimate = g.median(of)
    return Row(f"{g.case.name}, {which}", what, estimate.value, None, estimate.interval, control, why, form)


def path_row(g: Group) -> Row:
    """How far the paths lead that keep all logits."""
    ends = Counter(words for kept in g.all for word, words in ENDS.items() if word in kept.values["path"]["reason"])
    why = "; ".join(f"{count} of {len(g.all)} end at {words}" for words, count in ends.most_common())
    return _row(g, PATH, WAY, way("path"), ".0%", False, why)


def rule_row(s: Blindspots, g: Group) -> Row:
    """How far the rule of one number leads."""
    held = [kept.values["rule"]["kept"] for kept in g.all]
    why = f"{min(held)} to {max(held)}" if min(held) < max(held) else f"{max(held)}"
    why += f" of {s.scalar_steps} steps are taken"
    if min(held) < s.scalar_steps:
        why += "; with the others the confidence would fall further than allowed"
    return _row(g, RULE, WAY, way("rule"), ".0%", False, why)


def moved_row(g: Group) -> Row:
    """How far the logits move under the rule of one number."""
    first, last = (g.median(_figure("rule", f"confidence {end}")).value for end in ("start", "end"))
    why = f"at the end; the confidence is {first:.2f} at the start and {last:.2f} at the end, in the median"
    return _row(g, RULE, CHANGE, lambda kept: kept.values["rule"]["change end"], ".2g", False, why)


def rows(s: Blindspots, done: Parts) -> list[Row]:
    """How far both rules lead, how near and how similar the ends are, what the logits do, and the controls."""
    every = found(s, done)
    made = [row for g in every for row in (path_row(g), rule_row(s, g))]
    for g in every:
        for what, figure in ((RMSE, "rmse"), (SSIM, "ssim")):
            for which, name in ((START, "start"), (PATH, "path"), (RULE, "rule")):
                made.append(_row(g, which, what, _figure(figure, name), ".3f", which == START))
        dims = max(kept.values["front"] for kept in g.all)
        why = f"nullity {dims} of the front; not confined to [0, 1], so that within it the distance is no smaller"
        made.append(_row(g, "nullspace of the front alone", RMSE, lambda kept: kept.values["front rmse"], ".3f", True,
                         why))  # fmt: skip
    for g in every:
        largest = max(kept.values["path"]["max_change"] for kept in g.all)
        own = max(kept.values["path"]["max_change_own_precision"] for kept in g.all)
        vertices = [kept.values["path"]["vertices"] for kept in g.all]
        why = f"the largest of all paths, of {min(vertices)} to {max(vertices)} vertices; {own:.1e} in float32"
        made += [
            Row(f"{g.case.name}, {PATH}", CHANGE, largest, reason=why, form=".1e"),
            moved_row(g),
            _row(g, "straight line to the end of the path", CHANGE, lambda kept: kept.values["straight"], ".2g", True),
        ]
    return (
        made
        + [
            Row(case.name, WAY, None, reason=f"the folder BLINDSPACE_MODELS names has no {case.kind}")
            for case in s.cases
            if not s.runs(case)
        ]
        + [
            Row(case.name, WAY, None, reason="left out for want of time; the preset paper has it")
            for case in CASES
            if s.preset == "cpu" and case not in s.cases
        ]
    )


def _figure(what: str, which: str) -> Callable[[Kept], float]:
    return lambda kept: float(kept.values[what][which])


def claims(s: Blindspots, done: Parts) -> list[Claim]:
    """Whether paths are level, lead to the targets, and what the other rule does to the logits."""
    every = found(s, done)
    all_of = [kept for g in every for kept in g.all]
    kept_level = sum(kept.values["path"]["level"] and kept.values["in box"] for kept in all_of)
    small = s.preset == "smoke"
    far = [g.case.name for g in every if leads(g, "path")]
    moved = torch.tensor([kept.values["rule"]["change end"] for kept in all_of])
    similar = [kept.values["ssim"]["path"] > kept.values["ssim"]["start"] for kept in all_of]
    return [
        Claim(
            f"{kept_level} of {len(all_of)} paths stay in [0, 1] and change no logit by more than {s.tolerance:.0e} of "
            "the largest, at their vertices and between them",
            kept_level == len(all_of),
        ),
        Claim(
            f"with all logits kept, paths lead more than half of the way to an image of another class, in the median, "
            f"for {len(far)} of {len(every)} kinds of networks"
            + (f" ({', '.join(far)})" if 0 < len(far) < len(every) else ""),
            None if small else len(far) == len(every),
        ),
        Claim(
            f"the ends of {sum(similar)} of {len(similar)} such paths look more like the target than the image does, "
            "by SSIM",
            None if small else all(similar),
        ),
        Claim(
            f"the rule that keeps the confidence within {s.allowed:g} moves logits by {float(moved.median()):.2g} of "
            f"the largest in the median over all pairs ({float(moved.min()):.2g} to {float(moved.max()):.2g})",
            None if small else float(moved.median()) > MOVES,
        ),
    ]


def leads(g: Group, rule: str) -> bool:
    """Whether a rule leads more than half of the way to the target, in the median."""
    return g.median(way(rule)).value > HALF


def verdicts(s: Blindspots, done: Parts) -> list[Verdict]:
    """Whether either rule leads to images of another class, and whether a constant confidence is a constant output."""
    every = found(s, done)

    def answer(holds: list[bool]) -> tuple[Answer | None, str]:
        if s.preset == "smoke" or not holds:
            return None, ""
        if all(holds) or not any(holds):
            return ("holds" if all(holds) else "does not hold"), ""
        return "depends", "the network"

    made = []
    for question, rule, row in (
        ("constant-confidence", "rule", partial(rule_row, s)),
        ("all-logits", "path", path_row),
    ):
        said, on = answer([leads(g, rule) for g in every])
        made.append(Verdict(question, said, [row(g) for g in every], on=on))
    moves = [row.ours is not None and row.ours > MOVES for row in map(moved_row, every)]
    said, on = answer(moves)
    made.append(Verdict("logits-move", said, [moved_row(g) for g in every], on=on))
    return made


def draw(s: Blindspots, done: Parts, folder: Path) -> None:
    """Of each kind of network one pair: the path, its end, the target, and the end of the other rule."""
    images, captions = [], []
    for g in found(s, done):
        first = g.all[0]
        rmse, ssim = first.values["rmse"], first.values["ssim"]
        images.append(list(first.arrays["shown"]))
        said = {name: f"RMSE {rmse[name]:.2f}, SSIM {ssim[name]:.2f}" for name in rmse}
        moved = f"logits move by {first.values['rule']['change end']:.0%}"
        level = f"logits move by {first.values['path']['max_change']:.0e}"
        below = [f"{g.case.name}; {said['start']}", "", "", f"{level}; {said['path']}", "", f"{moved}; {said['rule']}"]
        taken_for = first.values["said"]
        captions.append([_lines(f"{a}; {b}" if b else a) for a, b in zip(taken_for, below, strict=True)])
    columns = ["image", "a third of the path", "two thirds", "end, all logits kept", "target", "end, confidence kept"]
    gallery(folder / "blindspots.png", images, columns, captions, side=1.7)


def _lines(caption: str) -> str:
    return caption.replace("; ", "\n")
