"""Random targets against those that the true class determines: rows, claims, the verdict and the picture."""

from __future__ import annotations

from pathlib import Path

import torch

from ..common.classifier_names import KINDS
from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, high, low, mean
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import (
    GIVEN,
    NEXT,
    NONE,
    OTHER,
    RANDOM,
    SAME,
    STUDENTS,
    TARGETS,
    IlyasSetsSettings,
    groups,
    name,
)

PUBLISHED = {
    "mnist": {RANDOM: 0.945, NEXT: 0.45},
    "cifar10": {RANDOM: 0.63, NEXT: 0.44},
}
"""Published accuracies: of Ilyas et al. on CIFAR-10, and of Kumano et al. on MNIST, read off a figure."""

REASON = {
    "mnist": "Kumano et al.: 60,000 images, 100 steps, 100 epochs, the best one by test labels",
    "cifar10": "Ilyas et al.: ResNet-50, 50,000 images, 100 steps; targets may be the true class",
}


def found(s: IlyasSetsSettings, done: Parts) -> list[Learners]:
    """All networks N1 over their seeds, with the students of both sets."""
    return [Learners(cases[0], tuple(_both(done, case.part) for case in cases)) for cases in groups(s)]


def _both(done: Parts, part: str) -> Kept:
    """The parts of both sets of a network N1 as one."""
    sets = [done[f"{part}.{which}"].values for which in (RANDOM, NEXT)]
    joined = {key: {**sets[0][key], **sets[1][key]} for key in ("students", "sets")}
    return Kept({**sets[0], **joined})


def _of(g: Learners, which: str, what: str = TARGETS, by: str = SAME) -> Estimate:
    return g.accuracy(name(which, what, by))


def _difference(g: Learners, by: str) -> Estimate:
    """Accuracy from random targets − from those of the true class."""
    return g.difference(name(RANDOM, TARGETS, by), name(NEXT, TARGETS, by))


def _next(g: Learners, student: str) -> Estimate:
    """Share of test images answered by the class after the true one."""
    return mean(torch.tensor([part.values["students"][student]["next"] for part in g.kept]))


def _transferred(g: Learners, which: str, by: str, of: int) -> Estimate:
    """Share of perturbed images in which another network sees the target (0) or the true class (1)."""
    return mean(torch.tensor([part.values["sets"][which]["transfer"][by][of] for part in g.kept]))


def _row(s: IlyasSetsSettings, g: Learners, which: str, what: str = TARGETS, by: str = SAME) -> Row:
    student = name(which, what, by)
    words = f"the class after the true one in {_next(g, student).value:.1%}"
    reference = PUBLISHED.get(g.case.dataset, {}).get(which) if (what, by) == (TARGETS, SAME) else None
    ours = f"{s.of(g.case)[1]:,} images, {s.steps} steps, {s.epochs} epochs"
    words += f"; {ours}; {REASON[g.case.dataset]}" if reference else ""
    kind = KINDS[g.case.kind if by == SAME else s.of(g.case)[0]]
    return g.row(student, reference, words, what != TARGETS, f"{g.name}, {which}, {what}, by {kind}")


def _difference_row(s: IlyasSetsSettings, g: Learners, by: str) -> Row:
    of, kind = _difference(g, by), KINDS[g.case.kind if by == SAME else s.of(g.case)[0]]
    return Row(f"{g.name}, by {kind}", f"accuracy, {RANDOM} − {NEXT}", of.value, None, of.interval, form="+.3f")


def _set_rows(g: Learners, which: str) -> list[Row]:
    """Success of the attack on N1 and on others."""
    success, form = g.success(which), ".3f"
    made = [Row(f"{g.name}, {which}", "N1 sees the target", success.value, None, success.interval, form=form)]
    for by in (SAME, OTHER):
        of, true = (_transferred(g, which, by, index) for index in (0, 1))
        words = f"the true class in {true.value:.1%}"
        case = f"{g.name}, {which}, another network of {'its' if by == SAME else 'another'} architecture"
        made.append(Row(case, "sees the target", of.value, None, of.interval, reason=words, form=form))
    return made


def rows(s: IlyasSetsSettings, done: Parts) -> list[Row]:
    """Network by network: N1, the sets, then every student."""
    made = []
    for g in found(s, done):
        first = mean(torch.tensor([part.values["accuracy"] for part in g.kept]))
        made.append(
            Row(f"{g.name}, N1", "accuracy on clean test images", first.value, None, first.interval, form=".3f")
        )
        for which in (RANDOM, NEXT):
            made += _set_rows(g, which)
            for what, by in ((TARGETS, SAME), (TARGETS, OTHER), (GIVEN, SAME), (NONE, OTHER)):
                made.append(_row(s, g, which, what, by))
        made += [_difference_row(s, g, by) for by in (SAME, OTHER)]
    return made


def _hardly(g: Learners, by: str) -> bool:
    """Whether random targets teach above chance, and those of the true class less than half as much."""
    random, fixed = _of(g, RANDOM, TARGETS, by), _of(g, NEXT, TARGETS, by)
    return low(random) > CHANCE and low(_difference(g, by)) > 0 and high(fixed) < random.value / 2


def _listed(every: list[Learners], which: str, what: str = TARGETS, by: str = SAME) -> str:
    return ", ".join(f"{g.name} {_of(g, which, what, by).value:.1%}" for g in every)


def claims(s: IlyasSetsSettings, done: Parts) -> list[Claim]:
    """What both sets teach."""
    every = found(s, done)
    both = [(g, by) for g in every for by in (SAME, OTHER)]
    made = [
        Claim(
            f"random targets teach: {_listed(every, RANDOM)}; another architecture {_listed(every, RANDOM, by=OTHER)}; "
            f"without perturbations {_listed(every, RANDOM, NONE, OTHER)}",
            all(low(_of(g, RANDOM, TARGETS, by)) > CHANCE for g, by in both),
        ),
        Claim(
            f"targets that the true class determines teach less: {_listed(every, NEXT)}; another architecture "
            f"{_listed(every, NEXT, by=OTHER)}",
            all(low(_difference(g, by)) > 0 for g, by in both),
        ),
        Claim(
            f"N1's own labels of the perturbed images teach more than the targets, for where an attack fails they are "
            f"mostly the true ones: random {_listed(every, RANDOM, GIVEN)}, of the true class "
            f"{_listed(every, NEXT, GIVEN)}",
            all(
                low(g.difference(name(which, GIVEN, SAME), name(which, TARGETS, SAME))) > 0
                for g in every
                for which in (RANDOM, NEXT)
            ),
        ),
        Claim(
            "perturbations teach a network more than they fool one: N2 classifies more clean images than the share of "
            "perturbed ones in which another network sees the target",
            all(low(_of(g, RANDOM)) > high(_transferred(g, RANDOM, SAME, 0)) for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: IlyasSetsSettings, done: Parts) -> list[Verdict]:
    """Whether networks learn from random targets, and hardly from those of the true class."""
    if s.preset == "smoke":
        return [Verdict("deterministic-worse", None, [])]
    every = found(s, done)
    holds = [[_hardly(g, by) for by in (SAME, OTHER)] for g in every]
    each = [holds_here for of_set in holds for holds_here in of_set]
    answer: Answer = "holds" if all(each) else "depends" if any(each) else "does not hold"
    decide = [
        row
        for g in every
        for row in (_row(s, g, RANDOM), _row(s, g, NEXT), *(_difference_row(s, g, by) for by in (SAME, OTHER)))
    ]
    counts = ", ".join(f"{s.of(g.case)[1]:,} of {g.name}" for g in every)
    nexts = ", ".join(f"{_next(g, name(NEXT, TARGETS, SAME)).value:.0%} ({g.name})" for g in every)
    because = (
        f"hardly means less than half as much, and it is so in {sum(each)} of {len(each)} cases; without perturbations "
        f"random targets teach {_listed(every, RANDOM, NONE, OTHER)}; images are few ({counts}); after D_det clean "
        f"images are answered by the class after the true one in {nexts}"
    )
    on = "the data set" if all(len(set(of_set)) == 1 for of_set in holds) else "the data set and the network"
    return [Verdict("deterministic-worse", answer, decide, on if answer == "depends" else "", because)]


def draw(s: IlyasSetsSettings, done: Parts, folder: Path) -> None:
    """Accuracy of every student."""
    every = found(s, done)
    figure = new_figure(3.6 * len(every) + 3.5, 3.4)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False, sharey=True)[0], every, strict=True):
        plain(axes, g.name, "accuracy on clean test images")
        for place, student in enumerate(STUDENTS):
            of = g.accuracy(student)
            axes.barh(
                place, of.value, color=COLOURS["own" if TARGETS in student and NONE not in student else "control"]
            )
            ends = [min(max(end, 0), 1) for end in of.interval or ()]
            axes.plot(ends, [place] * len(ends), color=INK, linewidth=1)
            theirs = PUBLISHED.get(g.case.dataset, {}).get(student.split(", ")[0])
            if theirs and student.endswith(f"{TARGETS}, {SAME}"):
                axes.plot([theirs], [place], "D", color=COLOURS["paper"], markersize=5)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(STUDENTS)), STUDENTS)
        axes.set_ylim(len(STUDENTS) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
    save(figure, folder / "ilyas.png")
