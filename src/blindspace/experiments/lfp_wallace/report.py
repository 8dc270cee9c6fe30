"""Learning from a network's labels without perturbations: rows, claims, the verdict and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, high, low, mean
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import (
    AMONG,
    BLIND,
    GIVEN,
    NOISE,
    NORMALISED,
    OVER,
    TRUE,
    UNTRAINED,
    Labelling,
    WallaceSettings,
    groups,
)

CONTROLS = (AMONG, OVER, UNTRAINED, BLIND)
"""Labels from which nothing about classes can be learnt but by chance."""

PUBLISHED = {("cifar10", GIVEN): 0.497, ("fashion-mnist", GIVEN): 0.91, ("fashion-mnist", NORMALISED): 0.945}
"""Wallace's accuracies by the data set of the images, of convolutional networks."""


@dataclass(frozen=True)
class Group(Learners):
    """Students of networks N1 that differ by their seed."""

    labelling: Labelling

    @property
    def name(self) -> str:
        """What is labelled by what."""
        return f"{self.labelling.said}, {'MLP' if self.case.kind == 'mlp' else 'ConvNet'}"

    @property
    def cells(self) -> tuple[str, ...]:
        """What students learnt from."""
        return self.labelling.cells

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls among them."""
        return tuple(cell for cell in self.cells if cell in CONTROLS)

    def of(self, cell: str, what: str) -> Estimate:
        """Mean over the seeds of another figure of the students."""
        return mean(torch.tensor([part.values["students"][cell][what] for part in self.kept]))

    @property
    def first(self) -> Estimate:
        """Accuracy of N1."""
        return mean(torch.tensor([part.values["accuracy"] for part in self.kept]))


def found(s: WallaceSettings, done: Parts) -> list[Group]:
    """All groups, in the order of tables."""
    return [Group(cases[0], tuple(done[case.part] for case in cases), cases[0]) for cases in groups(s)]


def _row(g: Group, cell: str) -> Row:
    reference = PUBLISHED.get((g.labelling.source, cell)) if g.case.kind == "convnet" else None
    words = (
        f"it answers as N1 does on {g.of(cell, 'agreement').value:.1%} of them; the most frequent label has "
        f"{g.of(cell, 'most frequent label').value:.0%} of the images"
    )
    if reference is not None:
        count = round(sum(part.values["images"] for part in g.kept) / len(g.kept))
        errors = f"; N1 is a ResNet-18 of 63.1 % there, with 18,768 errors, ours has {g.first.value:.1%}"
        epochs = len(g.kept[0].values["students"][cell]["test"])
        words += f"; {count} images and {epochs} epochs{errors if g.labelling.errors else ', another ConvNet'}"
    return g.row(cell, reference, words, cell in CONTROLS)


def rows(s: WallaceSettings, done: Parts) -> list[Row]:
    """Group by group: N1, then every student."""
    made = []
    for g in found(s, done):
        of = g.first
        made.append(Row(f"{g.name}, N1", "accuracy on clean test images", of.value, None, of.interval, form=".3f"))
        made += [_row(g, cell) for cell in g.cells]
        made += [_beyond_true(g)] if TRUE in g.cells else []
    return made


def _beyond(g: Group) -> Row:
    """How much more N1's labels teach than the best control."""
    best = max(g.controls, key=lambda cell: g.accuracy(cell).value)
    of = g.difference(GIVEN, best)
    words = f"the best control: {best}, {g.accuracy(best).value:.3f}"
    quantity = "accuracy from N1's labels − from the best control"
    return Row(g.name, quantity, of.value, None, of.interval, False, words, "+.3f")


def _beyond_true(g: Group) -> Row:
    """How much more N1's wrong labels of its errors teach than the true ones."""
    of = g.difference(GIVEN, TRUE)
    words = f"true labels of the same images: {g.accuracy(TRUE).value:.3f}"
    return Row(
        g.name, "accuracy from N1's labels − from true labels", of.value, None, of.interval, False, words, "+.3f"
    )


def _teaches(g: Group) -> bool:
    """Whether N1's labels teach above chance and above every control."""
    return low(g.accuracy(GIVEN)) > CHANCE and all(low(g.difference(GIVEN, cell)) > 0 for cell in g.controls)


def claims(s: WallaceSettings, done: Parts) -> list[Claim]:
    """What N1's labels teach, and what the controls leave of it."""
    every = found(s, done)
    errors = [g for g in every if g.labelling.errors]
    foreign = [g for g in every if not g.labelling.errors]
    shuffled = [g for g in every if OVER in g.cells]
    untrained = [g for g in every if UNTRAINED in g.cells]
    noise = [g for g in every if NOISE in g.cells]
    made = [
        Claim(
            f"a network's training errors teach with its labels, which are all wrong: {_listed(errors, GIVEN)}",
            all(_teaches(g) for g in errors),
        ),
        Claim(
            f"the wrong labels of these images teach more than their true ones do: {_listed(errors, TRUE)}",
            all(low(g.difference(GIVEN, TRUE)) > 0 for g in errors),
        ),
        Claim(
            f"the images of another data set teach with a network's labels: {_listed(foreign, GIVEN)}",
            all(_teaches(g) for g in foreign),
        ),
        Claim(
            f"they teach more once they have the mean and deviation of the images that N1 learnt: "
            f"{_listed(foreign, NORMALISED)}",
            all(low(g.difference(NORMALISED, GIVEN)) > 0 for g in foreign),
        ),
        Claim(
            "which image has which label is what teaches: shuffled over all they teach nothing, "
            + _listed(shuffled, OVER),
            all(low(g.accuracy(OVER)) <= CHANCE for g in shuffled),
        ),
        Claim(
            "what is learnt is the network that gave the labels: those of an untrained one teach no classes, "
            + _listed(untrained, UNTRAINED),
            all(high(g.accuracy(UNTRAINED)) < low(g.accuracy(GIVEN)) for g in untrained),
        ),
        Claim(
            f"it takes no image at all: a network's labels of uniform noise teach, {_listed(noise, NOISE)}",
            all(low(g.accuracy(NOISE)) > CHANCE and low(g.difference(NOISE, OVER)) > 0 for g in noise),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _listed(every: list[Group], cell: str) -> str:
    return ", ".join(f"{g.name} {g.accuracy(cell).value:.1%}" for g in every)


def verdicts(s: WallaceSettings, done: Parts) -> list[Verdict]:
    """Whether wrong labels teach without perturbations."""
    if s.preset == "smoke":
        return [Verdict("no-perturbation", None, [])]
    every = found(s, done)
    holds = [_teaches(g) for g in every]
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    decide = [row for g in every for row in (_row(g, GIVEN), *([_beyond(g)] if g.controls else []))]
    because = (
        "the labels say what the network has learnt, which is distillation, by images of any kind: uniform noise with "
        f"N1's labels teaches too, {_listed([g for g in every if NOISE in g.cells], NOISE)}, and the labels of errors "
        f"teach more than the true labels of the same images, {_listed([g for g in every if TRUE in g.cells], TRUE)}"
    )
    return [Verdict("no-perturbation", answer, decide, "the images" if answer == "depends" else "", because)]


def draw(s: WallaceSettings, done: Parts, folder: Path) -> None:
    """Accuracy of every student, group by group."""
    every = found(s, done)
    shown = [(g, cell) for g in every for cell in ("", *g.cells)]
    figure = new_figure(7, 0.24 * len(shown) + 1)
    axes = plain(figure.subplots(), "What students learn from, and their accuracy", "accuracy on clean test images")
    for place, (g, cell) in enumerate(shown):
        if not cell:
            axes.text(0, place + 0.1, g.name, va="center", size=9, color=INK, weight="bold")
            continue
        of = g.accuracy(cell)
        axes.barh(place, of.value, color=COLOURS["control" if cell in CONTROLS else "own"], height=0.7)
        if of.interval:
            ends = [max(of.interval[0], 0), min(of.interval[1], 1)]
            axes.plot(ends, [place, place], color=INK, linewidth=1)
    axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(shown)), [cell for _, cell in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    save(figure, folder / "wallace.png")
