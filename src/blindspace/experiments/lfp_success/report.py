"""Learning against attack success: rows, claims, the verdict and the picture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, accuracies, low, mean, of_sets
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Claim, Row, Verdict
from ..parts import Parts
from .settings import EITHER, FAILED, SPLIT, SUCCEEDED, Attack, SuccessSettings, groups

AUTHORS = Attack("authors-linf", 0.3)
"""The attack of the published MNIST R-L∞: accuracy .92 (best epoch), success .036."""

PUBLISHED = {"mnist": (0.036, 0.92), "fashion-mnist": (0.94, 0.71)}
"""Success and accuracy of it."""

ALL = "all sets"


def found(s: SuccessSettings, done: Parts) -> list[Learners]:
    """All kinds of networks, in the order of tables."""
    return [Learners(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]


def points(s: SuccessSettings, g: Learners) -> tuple[Tensor, Tensor, Tensor]:
    """Success, accuracy and median L2 norm of every attack, each ``(seeds, attacks)``."""
    labels = [attack.label for attack in s.grid]
    success = torch.stack([of_sets(g.kept, label) for label in labels], 1)
    norm = torch.stack([of_sets(g.kept, label, "l2") for label in labels], 1)
    return success, torch.stack([accuracies(g.kept, label) for label in labels], 1), norm


def regression(x: Tensor, y: Tensor) -> tuple[Estimate, Estimate]:
    """Slope and R² of y on x, ``(seeds, attacks)``: one regression per seed, over the attacks."""
    a, b = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    sxx, syy, sxy = ((u * v).sum(1) for u, v in ((a, a), (b, b), (a, b)))
    return mean(sxy / sxx.clamp(min=1e-12)), mean(sxy**2 / (sxx * syy).clamp(min=1e-12))


def _row(case: str, what: str, of: Estimate, form: str = ".3f", reason: str = "") -> Row:
    return Row(case, what, of.value, None, of.interval, False, reason, form)


def slope_row(s: SuccessSettings, g: Learners) -> Row:
    """How accuracy changes with success over all attacks and radii."""
    success, accuracy, _ = points(s, g)
    return _row(f"{g.name}, {ALL}", "slope of accuracy on success", regression(success, accuracy)[0], "+.2f")


def explained_rows(s: SuccessSettings, g: Learners) -> list[Row]:
    """How much of the accuracies success explains, and how much the norm."""
    success, accuracy, norm = points(s, g)
    return [
        _row(f"{g.name}, {ALL}", "R² of accuracy on success", regression(success, accuracy)[1], ".2f"),
        _row(f"{g.name}, {ALL}", "R² of accuracy on log L2 norm", regression(norm.log(), accuracy)[1], ".2f"),
    ]


def split_row(g: Learners) -> Row:
    """What successes teach beyond failures."""
    count = g.kept[0].values["sets"][FAILED]["count"]
    words = f"{SPLIT.label}; {count:,} samples each of the first seed; either: {g.accuracy(EITHER).value:.3f}"
    return _row(g.name, "accuracy from successes − from failures", g.difference(SUCCEEDED, FAILED), "+.3f", words)


def rows(s: SuccessSettings, done: Parts) -> list[Row]:
    """Network by network: every attack with its success and its student, then the regression and the split."""
    made = []
    for g in found(s, done):
        for attack in s.grid:
            published = PUBLISHED[g.case.dataset] if attack == AUTHORS else (None, None)
            words = f"median L2 norm {float(of_sets(g.kept, attack.label, 'l2').mean()):.3g}"
            of, case = g.success(attack.label), f"{g.name}, {attack.label}"
            why = "another network, fewer steps" if published[0] else ""
            less = f"{words}; another network, fewer images and epochs" if published[1] else words
            made += [
                Row(case, "success of the attack", of.value, published[0], of.interval, False, why, ".3f"),
                g.row(attack.label, published[1], less),
            ]
        made += [g.row(cell, case=f"{g.name}, {SPLIT.label}, {cell}") for cell in (SUCCEEDED, FAILED, EITHER)]
        made += [slope_row(s, g), *explained_rows(s, g), split_row(g)]
    return made


def least_successful(s: SuccessSettings, g: Learners) -> Attack | None:
    """The attack that teaches most among those that succeed in less than a tenth of the images; None without any."""
    few = [attack for attack in s.grid if g.success(attack.label).value < 0.1]
    return max(few, key=lambda attack: g.accuracy(attack.label).value, default=None)


def claims(s: SuccessSettings, done: Parts) -> list[Claim]:
    """Whether success explains what is learnt."""
    every = found(s, done)
    quiet = [(g, least_successful(s, g)) for g in every]
    made = [
        Claim(
            "attacks that succeed in less than a tenth of the images teach more than twice chance: "
            + "; ".join(
                f"{g.name} {attack.label}: success {g.success(attack.label)}, accuracy {g.accuracy(attack.label)}"
                for g, attack in quiet
                if attack
            ),
            all(attack is not None and low(g.accuracy(attack.label)) > 2 * CHANCE for g, attack in quiet),
        ),
        Claim(
            "samples whose attack failed teach at least half as much as as many whose attack succeeded: "
            + "; ".join(f"{g.name} {g.accuracy(FAILED)} against {g.accuracy(SUCCEEDED)}" for g in every),
            all(g.accuracy(FAILED).value >= g.accuracy(SUCCEEDED).value / 2 for g in every),
        ),
        Claim(
            "over all attacks and radii accuracy does not grow with success: slope "
            + "; ".join(f"{g.name} {regression(*points(s, g)[:2])[0]}" for g in every),
            all(low(regression(*points(s, g)[:2])[0]) <= 0 for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: SuccessSettings, done: Parts) -> list[Verdict]:
    """Whether what is learnt grows with success: over attacks and radii, and from sample to sample."""
    if s.preset == "smoke":
        return [Verdict("fooling", None, [])]
    every = found(s, done)
    grows = [low(regression(*points(s, g)[:2])[0]) > 0 for g in every]
    hits = [low(g.difference(SUCCEEDED, FAILED)) > 0 for g in every]
    votes = grows + hits
    because = (
        "; ".join(
            f"{g.name}: failures teach {g.accuracy(FAILED).value:.3f}, successes {g.accuracy(SUCCEEDED).value:.3f}"
            for g in every
        )
        + ". Yet attacks that hardly ever succeed may teach: R-L∞ by the authors’ attack in lfp-mnist"
    )
    some = any(votes) and not all(votes)
    return [
        Verdict(
            "fooling",
            "holds" if all(votes) else "depends" if some else "does not hold",
            [row for g in every for row in (slope_row(s, g), split_row(g))],
            "the data set, and on what makes attacks succeed: a larger radius, or the sample" if some else "",
            because,
        )
    ]


MARKS = {"l2": ("own", "o"), "linf": ("second", "s"), "authors-linf": ("third", "D")}
MARKS |= {"l0": ("gaussian", "^"), "authors-l0": ("shuffled", "v")}
"""Colour and marker of each attack."""


def draw(s: SuccessSettings, done: Parts, folder: Path) -> None:
    """Accuracy against success, one line per attack over its radii."""
    every = found(s, done)
    figure = new_figure(5.2 * len(every), 4.2)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, g.name, "success of the attack", "accuracy on clean test images")
        for name, (colour, marker) in MARKS.items():
            of = [attack for attack in s.grid if attack.name == name]
            x = [g.success(attack.label).value for attack in of]
            y = [g.accuracy(attack.label).value for attack in of]
            axes.plot(x, y, "-", marker=marker, color=COLOURS[colour], linewidth=1.5, markersize=6, label=name)
            for attack, u, v in zip(of, x, y, strict=True):
                axes.annotate(f"{attack.eps:g}", (u, v), (4, 4), textcoords="offset points", size=7.5, color=INK)
        for cell, marker in ((SUCCEEDED, "*"), (FAILED, "X")):
            x = [float(cell == SUCCEEDED)]
            y = [g.accuracy(cell).value]
            axes.plot(x, y, marker, color=COLOURS["control"], markersize=9, label=f"{SPLIT.label}, {cell}")
        theirs = PUBLISHED[g.case.dataset]
        axes.plot(*([value] for value in theirs), "P", color=COLOURS["paper"], markersize=8, label="published R-L∞")
        axes.axhline(CHANCE, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(figure, folder / "success.png")
