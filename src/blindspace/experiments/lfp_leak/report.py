"""Robust features in perturbed images: rows, claims, verdicts and the picture."""

from __future__ import annotations

from pathlib import Path

import torch

from ...learning.controls import FLIPPED, NOISE, NONE, PERMUTED, SAME_TARGET, SHUFFLED
from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, high, low, mean
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import (
    BLIND,
    CELLS,
    DEEP,
    EPS,
    LINEAR,
    NEXT,
    OF_RADIUS,
    RANDOM,
    ROBUST,
    WHOLE,
    LeakSettings,
    groups,
    learners,
    name,
)

GOH = {("cifar10", RANDOM): 0.235}
"""Goh's accuracy of a linear model of robust features, learnt from the published set."""

BLANK = (NONE, NOISE, SHUFFLED, PERMUTED, BLIND)
"""Controls from which nothing about the target can be learnt."""


def found(s: LeakSettings, done: Parts) -> list[Learners]:
    """All networks that are attacked, over their seeds."""
    return [Learners(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]


def _accuracy(g: Learners, by: str, targets: str, cell: str = WHOLE) -> Estimate:
    return g.accuracy(name(by, targets, cell))


def _beyond(g: Learners, by: str, targets: str, cell: str) -> Estimate:
    """Accuracy from the perturbations − from a control."""
    return g.difference(name(by, targets, WHOLE), name(by, targets, cell))


def _next(g: Learners, by: str, targets: str, cell: str = WHOLE) -> Estimate:
    """Share of test images answered by the class after the true one."""
    values = [part.values["students"][name(by, targets, cell)]["next"] for part in g.kept]
    return mean(torch.tensor(values))


def _row(g: Learners, by: str, targets: str, cell: str = WHOLE) -> Row:
    words = f"the class after the true one in {_next(g, by, targets, cell).value:.1%}"
    reference = GOH.get((g.case.dataset, targets)) if (by, cell) == (ROBUST, WHOLE) else None
    if cell in (WHOLE, BLIND):
        words += f"; attacks succeed in {g.success(f'{targets}, {cell}').value:.0%}"
    if reference:
        words += "; Goh's set is of a ResNet-50 and 50,000 images, and his features of adversarial training"
    return g.row(name(by, targets, cell), reference, words, cell != WHOLE)


def _margin(s: LeakSettings, g: Learners) -> Row:
    """The features' certificate: the smallest margin over the radius that they are to withstand."""
    radius = OF_RADIUS * EPS[g.case.dataset]
    margins = torch.tensor([part.values["margins"] for part in g.kept]).double()
    accuracy = sum(part.values["accuracy of the features"] for part in g.kept) / len(g.kept)
    words = (
        f"mean distance on the right side in L2, {float(margins.mean()):.2f} on average; over 1 it certifies the "
        f"feature; the largest of the ten is that of the class in {accuracy:.1%} of test images"
    )
    least = float(margins.min()) / radius
    return Row(f"{g.name}, robust features", f"smallest margin / {radius:g}", least, reason=words, form=".2f")


def rows(s: LeakSettings, done: Parts) -> list[Row]:
    """Network by network: the features' margins, then what is learnt by what."""
    made = []
    for g in found(s, done):
        made.append(_margin(s, g))
        for targets in (RANDOM, NEXT):
            made += [_row(g, by, targets, cell) for cell in CELLS[targets] for by in learners(targets, cell)]
    return made


def _leaks(g: Learners, by: str = ROBUST) -> bool:
    """Whether robust features are learnt from random targets, above chance and every control without information."""
    whole = low(_accuracy(g, by, RANDOM)) > CHANCE
    return whole and all(low(_beyond(g, by, RANDOM, cell)) > 0 for cell in BLANK)


def _against(g: Learners) -> Estimate:
    """Accuracy of robust features from random targets − from the class after the true one."""
    return g.difference(name(ROBUST, RANDOM, WHOLE), name(ROBUST, NEXT, WHOLE))


def _listed(every: list[Learners], by: str, targets: str, cell: str = WHOLE) -> str:
    return ", ".join(f"{g.name} {_accuracy(g, by, targets, cell).value:.1%}" for g in every)


def claims(s: LeakSettings, done: Parts) -> list[Claim]:
    """What a linear model learns of which sets."""
    every = found(s, done)
    made = [
        Claim(
            "all ten features are useful whatever perturbation of their radius each image gets",
            all((_margin(s, g).ours or 0) > 1 for g in every),
        ),
        Claim(
            f"with random targets a linear model learns robust features: {_listed(every, ROBUST, RANDOM)}; without "
            f"perturbations {_listed(every, ROBUST, RANDOM, NONE)}",
            all(_leaks(g) for g in every),
        ),
        Claim(
            f"with the class after the true one it does not: {_listed(every, ROBUST, NEXT)}",
            all(high(_accuracy(g, ROBUST, NEXT)) < CHANCE and low(_against(g)) > 0 for g in every),
        ),
        Claim(
            f"a linear model of all pixels learns more from random targets than from the class after the true one: "
            f"{_listed(every, LINEAR, RANDOM)} against {_listed(every, LINEAR, NEXT)}",
            all(low(g.difference(name(LINEAR, RANDOM, WHOLE), name(LINEAR, NEXT, WHOLE))) > 0 for g in every),
        ),
        Claim(
            f"perturbations of other images with the same target leak as much: "
            f"{_listed(every, ROBUST, RANDOM, SAME_TARGET)}; reversed they do not: "
            f"{_listed(every, ROBUST, RANDOM, FLIPPED)}",
            all(
                low(_accuracy(g, ROBUST, RANDOM, SAME_TARGET)) > CHANCE
                and high(_accuracy(g, ROBUST, RANDOM, FLIPPED)) < CHANCE
                for g in every
            ),
        ),
        Claim(
            f"a network of N1's kind learns from the class after the true one, against the robust features: "
            f"{_listed(every, DEEP, NEXT)}",
            all(_non_robust(g) for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _non_robust(g: Learners) -> bool:
    """Whether a network learns the classes from targets to which robust features point the wrong way."""
    return low(_accuracy(g, DEEP, NEXT)) > CHANCE and high(_accuracy(g, ROBUST, NEXT)) < CHANCE


def verdicts(s: LeakSettings, done: Parts) -> list[Verdict]:
    """Whether robust features leak, and what the class after the true one teaches."""
    if s.preset == "smoke":
        return [Verdict("flipped", None, []), Verdict("robust-leak", None, [])]
    every = found(s, done)
    return [
        _verdict(
            "flipped",
            [_non_robust(g) for g in every],
            [_row(g, by, NEXT) for g in every for by in (DEEP, ROBUST)],
            "robust features of the images point to the next class: the network answers it in "
            + ", ".join(f"{_next(g, DEEP, NEXT).value:.0%} ({g.name})" for g in every)
            + "; published networks, of 60,000 images, answer the true class in 45% on MNIST",
        ),
        _verdict(
            "robust-leak",
            [_leaks(g) for g in every],
            [_row(g, ROBUST, targets) for g in every for targets in (RANDOM, NEXT)],
            f"without perturbations {_listed(every, ROBUST, RANDOM, NONE)}, below chance because the targets exclude "
            f"the true class; shuffled over all {_listed(every, ROBUST, RANDOM, SHUFFLED)}; a linear model of all "
            f"pixels learns {_listed(every, LINEAR, RANDOM)}",
        ),
    ]


def _verdict(question: str, holds: list[bool], decide: list[Row], because: str) -> Verdict:
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, answer, decide, "the data set" if answer == "depends" else "", because)


def draw(s: LeakSettings, done: Parts, folder: Path) -> None:
    """Accuracy of linear models of robust features, from random targets and from the class after the true one."""
    every = found(s, done)
    figure = new_figure(4.2 * len(every) + 2.5, 3.6)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, f"{g.name}, {ROBUST}", "accuracy on clean test images")
        for shift, targets, colour in ((-0.2, RANDOM, "own"), (0.2, NEXT, "gaussian")):
            values = [_accuracy(g, ROBUST, targets, cell) for cell in CELLS[targets]]
            places = [place + shift for place in range(len(values))]
            label = "random targets" if targets == RANDOM else "the class after the true one"
            axes.barh(places, [value.value for value in values], 0.38, color=COLOURS[colour], label=label)
            for place, value in zip(places, values, strict=True):
                ends = [min(max(end, 0), 1) for end in value.interval or ()]
                axes.plot(ends, [place] * len(ends), color=INK, linewidth=1)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(0, 1)
        axes.set_yticks(range(len(CELLS[RANDOM])), CELLS[RANDOM])
        axes.set_ylim(len(CELLS[RANDOM]) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.tight_layout()
    save(figure, folder / "leak.png")
