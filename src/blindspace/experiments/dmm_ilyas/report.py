"""Learning from adversarial examples: rows, claims, verdicts and the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..common.intervals import Estimate
from ..common.perturbation_parts import OFF, ON
from ..common.pictures import COLOURS, INK, named_rows, new_figure, plain, save, share_interval
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import Group, found
from .settings import (
    ALONE,
    CELLS,
    CLEAN,
    CONTROLS,
    FLIPPED,
    MEASURED,
    NONE,
    PCA,
    RANDOM,
    SHUFFLED,
    WHOLE,
    IlyasSettings,
)

EARLIER = {
    ("mnist", "convnet", WHOLE): 0.68,
    ("fashion-mnist", "convnet", WHOLE): 0.66,
    ("mnist", "convnet", NONE): 0.10,
    ("fashion-mnist", "convnet", NONE): 0.10,
}
"""Earlier measurements with another small ConvNet, 30,000 images and L2 norm 2."""

CHANCE = 0.1
"""Accuracy of a network that knows nothing."""


def _row(case: str, what: str, of: Estimate, form: str = ".3f", reason: str = "", control: bool = False) -> Row:
    return Row(case, what, of.value, None, of.interval, control, reason, form)


def learnt(g: Group, cell: str) -> Row:
    """Accuracy of the student of a set."""
    of, given = g.accuracy(cell), EARLIER.get((g.case.dataset, g.case.kind, cell))
    each = ", ".join(f"{value:.1%}" for value in g.accuracies(cell).tolist())
    words = f"seeds: {each}" + ("; earlier measurement with five times as many images" if given else "")
    words += "; below chance, because no target is the true class" if cell == NONE else ""
    name = f"{g.name}, N2 of {cell}"
    return Row(name, "accuracy on clean test images", of.value, given, of.interval, cell in CONTROLS, words, ".1%")


def on_minus_off(g: Group) -> Row:
    """Which part teaches more, at equal norm."""
    return _row(
        f"{g.name}, N2", "accuracy from the part off the manifold − from the part on it", g.difference(OFF, ON), "+.1%"
    )


def robustness(g: Group, cell: str = WHOLE) -> Row:
    """Smallest norms of N2 over those of N1."""
    words = f"medians {g.norm(cell).value:.3f} and {g.norm('N1').value:.3f}; a misclassified image counts as 0"
    return _row(f"{g.name}, N2 of {cell}", "smallest norm, N2 / N1", g.norms_over(cell, "N1"), reason=words)


def better(g: Group) -> Row:
    """How much more accurate N2 is than N1."""
    words = f"than a network on as many clean images {g.difference(WHOLE, CLEAN).value:+.1%}"
    return _row(f"{g.name}, N2 of {WHOLE}", "accuracy, N2 − N1", g.difference(WHOLE, "N1"), "+.1%", words)


def rows(s: IlyasSettings, done: Parts) -> list[Row]:
    """Network by network: N1 and its perturbations, then every student."""
    made = []
    for g in found(s, done):
        success = sum(float(kept.values["success"]) for kept in g.kept) / len(g.kept)
        words = f"chance {g.kept[0].values['chance']:.3f}; N1 sees the target in {success:.1%}"
        made += [
            _row(f"{g.name}, N1", "accuracy on clean test images", g.accuracy("N1"), ".1%"),
            _row(f"{g.name}, perturbations", "share in the tangent space, median", g.perturbations, reason=words),
            *(learnt(g, cell) for cell in CELLS),
            on_minus_off(g),
            better(g),
            *(robustness(g, cell) for cell in MEASURED),
        ]
        for cell in ("N1", *MEASURED):
            case = f"{g.name}, {cell if cell == 'N1' else f'N2 of {cell}'}"
            made.append(_row(case, "share of the gradient in the tangent space", g.share(cell)))
    return made


def claims(s: IlyasSettings, done: Parts) -> list[Claim]:
    """What the sets teach, and what the controls leave of the explanations."""
    every = found(s, done)
    made = [
        Claim(
            "adversarial examples with their wrong labels teach: accuracy of N2 on clean test images "
            f"{_table(every, WHOLE)}; without perturbations {_table(every, NONE)}",
            all(_low(g.accuracy(WHOLE)) > CHANCE and g.accuracy(NONE).value < 0.2 for g in every),
        ),
        Claim(
            "at equal norm the part off the manifold teaches more than the part on it: "
            + "; ".join(f"{g.name} {g.accuracy(OFF).value:.1%} against {g.accuracy(ON).value:.1%}" for g in every),
            all(_low(g.difference(OFF, ON)) > 0 for g in every),
        ),
        Claim(
            f"what the part on the manifold teaches is more than a random subspace of equal dimension does: "
            f"{_table(every, ON)} against {_table(every, RANDOM)}; along PCA {_table(every, PCA)}",
            all(_low(g.difference(ON, RANDOM)) > 0 for g in every),
        ),
        Claim(
            "it is not the features of the target alone: reversed perturbations, which remove them and add the source "
            f"class, teach above chance too (as they did elsewhere): {_table(every, FLIPPED)}",
            all(_low(g.accuracy(FLIPPED)) > CHANCE for g in every),
        ),
        Claim(
            "N2 is more accurate and more robust than N1: "
            + "; ".join(
                f"{g.name} {g.difference(WHOLE, 'N1').value:+.1%}, norms × {g.norms_over(WHOLE, 'N1')}" for g in every
            ),
            all(_low(g.difference(WHOLE, "N1")) > 0 and _low(g.norms_over(WHOLE, "N1")) > 1 for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _table(every: list[Group], cell: str) -> str:
    return ", ".join(f"{g.name} {g.accuracy(cell).value:.1%}" for g in every)


def _low(of: Estimate) -> float:
    return of.interval[0] if of.interval else of.value


def verdicts(s: IlyasSettings, done: Parts) -> list[Verdict]:
    """Whether the overshooting dimples explain the experiment, and whether N2 is better."""
    if s.preset == "smoke":
        return [Verdict("ilyas", None, []), Verdict("ilyas-better", None, [])]
    every = found(s, done)
    teaches = [_low(g.accuracy(WHOLE)) > 0.5 for g in every]
    by_off = [_low(g.difference(OFF, ON)) > 0 for g in every]
    both = [a and b for a, b in zip(teaches, by_off, strict=True)]
    better_than = [_low(g.difference(WHOLE, "N1")) > 0 and _low(g.norms_over(WHOLE, "N1")) > 1 for g in every]
    shown = [every[0], every[-1]]
    because = (
        f"the part off the manifold teaches more than the part on it in {sum(by_off)} of {len(every)} cases, and N2 "
        f"surely classifies half of the images in {sum(teaches)}; but at equal norm the part along as many principal "
        f"components teaches {_table(every, PCA)}; d without an image {_table(every, ALONE)}; d of other images with "
        f"the same target {_table(every, SHUFFLED)}; reversed {_table(every, FLIPPED)}"
    )
    return [
        _verdict(
            "ilyas",
            both,
            [row for g in shown for row in (replace(learnt(g, WHOLE), reference=None), on_minus_off(g))],
            because,
        ),
        _verdict("ilyas-better", better_than, [row for g in shown for row in (better(g), robustness(g))]),
    ]


def _verdict(question: str, holds: list[bool], rows: list[Row], because: str = "") -> Verdict:
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, answer, rows, "the data set and the network" if answer == "depends" else "", because)


def draw(s: IlyasSettings, done: Parts, folder: Path) -> None:
    """Accuracy of every student."""
    every = found(s, done)
    figure = new_figure(3.2 * len(every) + 2, 4)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, g.name, "accuracy of N2 on clean test images")
        places = range(len(CELLS))
        values = [g.accuracy(cell) for cell in CELLS]
        colours = [COLOURS["control" if cell in CONTROLS else "own"] for cell in CELLS]
        axes.barh(places, [value.value for value in values], color=colours)
        for place, value in zip(places, values, strict=True):
            share_interval(axes, value.interval, place)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        named_rows(axes, CELLS)
        axes.set_xlim(0, 1)
    save(figure, folder / "ilyas.png")
