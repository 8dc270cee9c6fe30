"""Compensation of the source class beside features of the target: rows, claims, the verdict and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..common.classifier_names import DATASETS
from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, accuracies, high, low, mean
from ..common.pictures import COLOURS, INK, legend_below, named_rows, new_figure, plain, save, share_interval
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import (
    ALONE,
    BLIND,
    CELLS,
    CODES,
    FLIPPED,
    INDEPENDENT,
    NO_SOURCE,
    NO_TARGET,
    NONE,
    OF_NOISE,
    OWN,
    SAME_TARGET,
    TARGET_CODES,
    CompensationSettings,
    groups,
)

CONTROLS = (CODES, TARGET_CODES, NONE)
VIEWS = {"seen": "the part of clean test images that the maker sees", "unseen": "the part that it does not see"}


@dataclass(frozen=True)
class Compared(Learners):
    """Students of first networks that differ by their seed."""

    @property
    def name(self) -> str:
        """Data set and kind, or that the perturbations are harmless parts."""
        if self.case.kind == BLIND:
            return f"{DATASETS[self.case.dataset]}, harmless parts"
        return super().name

    @property
    def is_blind(self) -> bool:
        """Whether the perturbations are harmless parts."""
        return self.case.kind == BLIND

    @property
    def lost(self) -> Estimate:
        """Accuracy that is lost where the image says nothing about the target: what compensation adds."""
        return self.difference(OWN, INDEPENDENT)

    @property
    def left(self) -> Estimate:
        """Accuracy above chance where the image says nothing about the target: what features alone teach."""
        return mean(accuracies(self.kept, INDEPENDENT) - CHANCE)

    @property
    def lost_minus_left(self) -> Estimate:
        """How much more compensation adds than features alone teach."""
        own, independent = (accuracies(self.kept, cell) for cell in (OWN, INDEPENDENT))
        return mean(own - independent - (independent - CHANCE))

    def view(self, cell: str, view: str) -> Estimate:
        """Accuracy of a student on a part of the test images."""
        values = [float(part.values["students"][cell][view]) for part in self.kept]
        return mean(torch.tensor(values, dtype=torch.float64))

    def of(self, value: str) -> Estimate:
        """A figure of the perturbations."""
        return mean(torch.tensor([float(part.values[value]) for part in self.kept], dtype=torch.float64))


def found(s: CompensationSettings, done: Parts) -> list[Compared]:
    """All kinds of first networks, in the order of tables."""
    return [Compared(cases[0], tuple(done[case.part] for case in cases)) for cases in groups(s)]


def _row(case: str, what: str, of: Estimate, form: str = ".3f", reason: str = "") -> Row:
    return Row(case, what, of.value, None, of.interval, False, reason, form)


def decisive(g: Compared) -> Row:
    """How much more is lost without compensation than is left."""
    words = f"lost {g.lost.value:+.3f}, left above chance {g.left.value:+.3f}"
    return _row(
        g.name, "accuracy that needs the image's own perturbation − that does not", g.lost_minus_left, "+.3f", words
    )


def rows(s: CompensationSettings, done: Parts) -> list[Row]:
    """For each kind of first network its perturbations, every student, and what compensation adds."""
    made = []
    for g in found(s, done):
        words = "−1 if what is taken from the source is what is added of the target"
        made += [
            _row(f"{g.name}, d", "share of its variance that target and source class explain", g.of("explained")),
            _row(
                f"{g.name}, d",
                "cosine of the mean parts by target and by source, same class",
                g.of("cosine"),
                reason=words,
            ),
            _row(f"{g.name}, d", "success of the attack", g.success(OWN)),
            *(g.row(cell, control=cell in CONTROLS) for cell in CELLS),
            _row(g.name, f"accuracy from {OWN} − from {INDEPENDENT}", g.lost, "+.3f"),
            _row(g.name, f"accuracy from {OWN} − from {SAME_TARGET}", g.difference(OWN, SAME_TARGET), "+.3f"),
            _row(g.name, f"accuracy from {CODES} − from {TARGET_CODES}", g.difference(CODES, TARGET_CODES), "+.3f"),
            decisive(g),
        ]
        if g.is_blind:
            made += [
                _row(f"{g.name}, {cell}", f"accuracy on {words}", g.view(cell, view))
                for cell in CELLS
                for view, words in VIEWS.items()
            ]
    return made


def claims(s: CompensationSettings, done: Parts) -> list[Claim]:
    """What the sets separate."""
    every = found(s, done)
    blind = [g for g in every if g.is_blind]
    made = [
        Claim(
            "perturbations take away their source class: the mean parts by target and by source point apart, cosine "
            + ", ".join(f"{g.name} {g.of('cosine').value:+.2f}" for g in every),
            all(high(g.of("cosine")) < 0 for g in every),
        ),
        Claim(
            f"most of what is learnt needs the perturbation of the image itself: {_table(every, OWN)}; of another "
            f"image with the same target {_table(every, SAME_TARGET)}",
            all(low(g.difference(OWN, SAME_TARGET)) > 0 for g in every),
        ),
        Claim(
            f"where the image says nothing about the target, features of the target alone teach above chance: "
            f"{_table(every, INDEPENDENT)}",
            all(low(g.left) > 0 for g in every),
        ),
        Claim(
            f"without the mean part of the source class less is learnt: {_table(every, NO_SOURCE)}; without that of "
            f"the target {_table(every, NO_TARGET)}",
            all(high(g.difference(NO_SOURCE, OWN)) < 0 for g in every),
        ),
        Claim(
            f"compensation teaches without any feature: codes of target − source {_table(every, CODES)}; codes of the "
            f"target alone {_table(every, TARGET_CODES)}",
            all(low(g.difference(CODES, TARGET_CODES)) > 0 for g in every),
        ),
        Claim(
            f"perturbations of noise, which have no source class, teach above chance: {_table(every, OF_NOISE)}",
            all(low(g.accuracy(OF_NOISE)) > CHANCE for g in every),
        ),
        Claim(
            f"perturbations teach above chance without an image under them: {_table(every, ALONE)}",
            all(low(g.accuracy(ALONE)) > CHANCE for g in every),
        ),
    ]
    if blind:
        made.append(
            Claim(
                "what invisible parts teach is about the invisible part of images, and their negative about the "
                f"rest: on the unseen part {_views(blind, OWN, 'unseen')}, on the seen one "
                f"{_views(blind, OWN, 'seen')}; by the negative {_views(blind, FLIPPED, 'unseen')} and "
                f"{_views(blind, FLIPPED, 'seen')}",
                all(
                    low(g.view(OWN, "unseen")) > max(CHANCE, high(g.view(OWN, "seen")))
                    and low(g.view(FLIPPED, "seen")) > max(CHANCE, high(g.view(FLIPPED, "unseen")))
                    for g in blind
                ),
            )
        )
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _table(every: list[Compared], cell: str) -> str:
    return ", ".join(f"{g.name} {g.accuracy(cell).value:.3f}" for g in every)


def _views(every: list[Compared], cell: str, view: str) -> str:
    return " and ".join(f"{g.view(cell, view).value:.3f}" for g in every)


def verdicts(s: CompensationSettings, done: Parts) -> list[Verdict]:
    """Whether networks learn to compensate rather than features of the target."""
    if s.preset == "smoke":
        return [Verdict("compensation", None, [])]
    every = found(s, done)
    holds = [low(g.lost_minus_left) > 0 for g in every]
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    because = (
        f"accuracy {_table(every, OWN)}; where the image says nothing about the target {_table(every, INDEPENDENT)}; "
        f"of another image with the same target {_table(every, SAME_TARGET)}; codes without any feature "
        f"{_table(every, CODES)} against {_table(every, TARGET_CODES)}; of noise, which has no source class, "
        f"{_table(every, OF_NOISE)}"
    )
    on = "the data set and the part of the perturbation that is learnt" if answer == "depends" else ""
    return [Verdict("compensation", answer, [decisive(g) for g in every], on, because)]


def draw(s: CompensationSettings, done: Parts, folder: Path) -> None:
    """Accuracy from each set; for harmless parts also on both parts of the test images."""
    every = found(s, done)
    columns = min(len(every), 2)
    lines = -(-len(every) // columns)
    most = min(1.0, 1.03 * max(high(g.accuracy(cell)) for g in every for cell in CELLS))
    figure = new_figure(3.1 * columns + 3, 3.6 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True, sharex=True).flat
    for axes in list(panels)[len(every) :]:
        axes.set_axis_off()
    for axes, g in zip(figure.axes, every, strict=False):
        plain(axes, g.name, "accuracy on clean test images")
        for place, cell in enumerate(CELLS):
            of = g.accuracy(cell)
            axes.barh(place, of.value, 0.6, color=COLOURS["control" if cell in CONTROLS else "own"])
            share_interval(axes, of.interval, place)
            for view, mark in (("seen", "s"), ("unseen", "o")) if g.is_blind else ():
                label = f"on {VIEWS[view]}" if place == 0 else None
                colour = COLOURS["gaussian" if view == "seen" else "second"]
                axes.plot(g.view(cell, view).value, place, mark, color=colour, markersize=5, label=label)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        named_rows(axes, CELLS)
        axes.set_xlim(0, most)
    legend_below(figure, 2)
    figure.tight_layout()
    save(figure, folder / "compensation.png")
