"""What the invisible part of perturbations teaches: rows, claims, the verdict and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..common.classifier_cases import Case
from ..common.classifier_names import DATASETS
from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, low, mean
from ..common.pictures import COLOURS, INK, legend_below, named_rows, new_figure, plain, save, share_interval
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import (
    ALONE,
    ATTACKS,
    CELLS,
    CONTROLS,
    FLIPPED,
    HARMLESS,
    LEARNERS,
    SEEN,
    SHUFFLED,
    STEP,
    UNTRAINED,
    WHOLE,
    HarmlessSettings,
    cases,
)

EARLIER = {
    ("mnist", "convnet", HARMLESS): (0.46, 0.63),
    ("mnist", "mlp", HARMLESS): (0.54, 0.69),
    ("mnist", "linear", HARMLESS): (0.49, 0.69),
    ("fashion-mnist", "convnet", HARMLESS): (0.33, 0.44),
    ("fashion-mnist", "mlp", HARMLESS): (0.44, 0.46),
    ("fashion-mnist", "linear", HARMLESS): (0.40, 0.43),
    **{("mnist", learner, ALONE): (0.15, 0.35) for learner in LEARNERS},
    **{("fashion-mnist", learner, ALONE): (0.12, 0.18) for learner in LEARNERS},
    **{("mnist", learner, FLIPPED): (0.48, 0.58) for learner in LEARNERS},
    **{("fashion-mnist", learner, FLIPPED): (0.38, 0.46) for learner in LEARNERS},
    **{(dataset, learner, UNTRAINED): (0.09, 0.11) for dataset in ("mnist", "fashion-mnist") for learner in LEARNERS},
}
"""Ranges of an earlier measurement, with 30,000 images and 20 steps; the reference is the middle."""

EXACT = 1e-12
"""Largest harmless share of the squared norm of one unclipped step in float64."""


@dataclass(frozen=True)
class Taught(Learners):
    """Second networks of one kind, of first networks that differ by their seed, and perhaps by their kernels.

    Attributes:
        kernels: Numbers of kernels of the first networks.
    """

    kernels: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Data set, kernels and kind of the second networks."""
        numbers = ", ".join(map(str, self.kernels))
        return f"{DATASETS[self.case.dataset]}, {numbers} of 16 kernels, {LEARNERS[self.case.kind]}"

    def of(self, cell: str) -> Estimate:
        """Accuracy of the students of a set."""
        return self.accuracy(f"{self.case.kind}/{cell}")

    def over(self, cell: str, other: str) -> Estimate:
        """Accuracy of the students of one set minus that of another's, in pairs."""
        return self.difference(f"{self.case.kind}/{cell}", f"{self.case.kind}/{other}")

    def taught(self, cell: str, earlier: bool = False) -> Row:
        """The accuracy of the students of a set."""
        known = EARLIER.get((self.case.dataset, self.case.kind, cell)) if earlier else None
        words = f"earlier {known[0]:.2f} to {known[1]:.2f} with more images and other first networks" if known else ""
        middle = sum(known) / 2 if known else None
        return self.row(f"{self.case.kind}/{cell}", middle, words, cell in CONTROLS, f"{self.name}, {cell}")

    def least_over_controls(self, cell: str) -> tuple[str, Estimate]:
        """The control from which a set differs least, with the difference."""
        found = {control: self.over(cell, control) for control in CONTROLS}
        nearest = min(found, key=lambda control: low(found[control]))
        return nearest, found[nearest]

    def beyond(self, cell: str) -> Row:
        """How much more a set teaches than the control that comes nearest."""
        nearest, of = self.least_over_controls(cell)
        what = f"accuracy from {cell} − from the nearest control"
        return Row(self.name, what, of.value, None, of.interval, False, f"which is {nearest}", "+.3f")


def by_kernels(s: HarmlessSettings, done: Parts) -> list[Taught]:
    """Second networks by data set, number of kernels and kind."""
    return [group for k in s.kernels for group in _groups(s, done, (k,))]


def pooled(s: HarmlessSettings, done: Parts) -> list[Taught]:
    """Second networks by data set and kind, of all first networks."""
    return _groups(s, done, s.kernels)


def _groups(s: HarmlessSettings, done: Parts, kernels: tuple[int, ...]) -> list[Taught]:
    made = []
    for dataset in s.datasets:
        for learner, learns in s.learners:
            of = tuple(k for k in kernels if k in learns)
            kept = tuple(done[case.part] for case in cases(s) if case.dataset == dataset and case.kernels in of)
            if kept:
                made.append(Taught(Case(dataset, learner, 0), kept, of))
    return made


def rows(s: HarmlessSettings, done: Parts) -> list[Row]:
    """First networks and their attacks, then what students learn from each set, over all kernels and one by one."""
    made = []
    for dataset in s.datasets:
        for k in s.kernels:
            kept = [done[case.part] for case in cases(s) if (case.dataset, case.kernels) == (dataset, k)]
            made += _makers(f"{DATASETS[dataset]}, {k} of 16 kernels", kept)
    for group in pooled(s, done):
        made += [group.taught(cell, earlier=True) for cell in CELLS]
        made += [group.beyond(cell) for cell in (HARMLESS, FLIPPED, ALONE)]
    if len(s.kernels) > 1:
        made += [group.taught(cell) for group in by_kernels(s, done) if len(group.kernels) == 1 for cell in CELLS]
    return made


def _makers(name: str, kept: list[Kept]) -> list[Row]:
    def over_makers(values: list[float]) -> Estimate:
        return mean(torch.tensor(values, dtype=torch.float64))

    def row(what: str, of: Estimate, form: str = ".3f", reason: str = "") -> Row:
        return Row(name, what, of.value, None, of.interval, False, reason, form)

    moved = max(float(part.values["moved"]["logits"]) for part in kept)
    labels = max(float(part.values["moved"]["labels"]) for part in kept)
    success = sum(float(part.values["sets"][WHOLE]["success"]) for part in kept) / len(kept)
    words = f"{kept[0].values['harmless']:.3f} of all directions are harmless; the attack succeeds in {success:.1%}"
    made = [
        row("accuracy of the first network", over_makers([float(part.values["accuracy"]) for part in kept])),
        Row(name, "largest change of a logit by h", moved, form=".1e", reason=f"{labels:.1%} of labels change"),
    ]
    for attack in (STEP, *ATTACKS):
        of = over_makers([float(part.values["shares"][attack]) for part in kept])
        exact = attack == STEP
        what = f"{'largest' if exact else 'median'} harmless share, {attack}"
        made.append(row(what, of, ".1e" if exact else ".3f", "" if exact else words))
    return made


def claims(s: HarmlessSettings, done: Parts) -> list[Claim]:
    """Which perturbations have an invisible part, and what it teaches."""
    every, kept = pooled(s, done), [done[case.part] for case in cases(s)]
    small = s.preset == "smoke"
    step = max(float(part.values["shares"][STEP]) for part in kept)
    least = min(float(part.values["shares"][attack]) for part in kept for attack in ATTACKS)
    moved = max(float(part.values["moved"]["logits"]) for part in kept)
    labels = max(float(part.values["moved"]["labels"]) for part in kept)
    return [
        Claim(
            f"one unclipped L2 step has no harmless part (largest share {step:.1e}); every attack that takes signs, "
            f"clips or changes few values has one (least median share {least:.3f})",
            step <= EXACT < least,
        ),
        Claim(
            f"the harmless part moves no output of its maker: logits by at most {moved:.1e} in float64, and no label",
            moved <= 1e-9 and labels == 0,
        ),
        Claim(
            f"it teaches others more than any control does: {_table(every, HARMLESS)}; {_nearest(every, HARMLESS)}",
            None if small else all(low(group.least_over_controls(HARMLESS)[1]) > 0 for group in every),
        ),
        Claim(
            f"alone, without an image under it, it teaches above chance: {_table(every, ALONE)}",
            None if small else all(low(group.of(ALONE)) > CHANCE for group in every),
        ),
        Claim(
            f"its negative teaches more than any control too, so that it is not features of the target alone: "
            f"{_table(every, FLIPPED)}; {_nearest(every, FLIPPED)}",
            None if small else all(low(group.least_over_controls(FLIPPED)[1]) > 0 for group in every),
        ),
        Claim(
            f"from another image with the same target it teaches less: {_table(every, SHUFFLED)}",
            None if small else all(low(group.over(HARMLESS, SHUFFLED)) > 0 for group in every),
        ),
        Claim(
            f"removing it takes nothing away: the visible part teaches {_table(every, SEEN)} against "
            f"{_table(every, WHOLE)}",
            None if small else all(low(group.over(SEEN, WHOLE)) > -0.05 for group in every),
        ),
    ]


def _table(every: list[Taught], cell: str) -> str:
    return ", ".join(f"{_short(group)} {group.of(cell).value:.3f}" for group in every)


def _nearest(every: list[Taught], cell: str) -> str:
    found = ((_short(group), *group.least_over_controls(cell)) for group in every)
    return ", ".join(f"{name} {of.value:+.3f} over '{control}'" for name, control, of in found)


def _short(group: Taught) -> str:
    return f"{DATASETS[group.case.dataset]} {LEARNERS[group.case.kind]}"


def verdicts(s: HarmlessSettings, done: Parts) -> list[Verdict]:
    """Whether what a network cannot see teaches others."""
    if s.preset == "smoke":
        return [Verdict("harmless-part", None, [])]
    every = pooled(s, done)
    teaches = [low(group.least_over_controls(HARMLESS)[1]) > 0 for group in every]
    answer: Answer = "holds" if all(teaches) else "depends" if any(teaches) else "does not hold"
    because = (
        f"it stands surely above all of {len(CONTROLS)} controls in {sum(teaches)} of {len(every)} cases: "
        f"{_table(every, HARMLESS)}. Of another image with the same target: {_table(every, SHUFFLED)}; its negative: "
        f"{_table(every, FLIPPED)}; alone: {_table(every, ALONE)}; the visible part at equal norm: "
        f"{_table(every, SEEN)}"
    )
    on = "the data set and the second network" if answer == "depends" else ""
    return [Verdict("harmless-part", answer, [group.beyond(HARMLESS) for group in every], on, because)]


def draw(s: HarmlessSettings, done: Parts, folder: Path) -> None:
    """Accuracy from each set, by data set and second network."""
    every = pooled(s, done)
    figure = new_figure(4.2 * len(s.datasets) + 2, 5.4)
    for axes, dataset in zip(
        figure.subplots(1, len(s.datasets), squeeze=False, sharey=True)[0], s.datasets, strict=True
    ):
        plain(axes, DATASETS[dataset], "accuracy on clean test images")
        groups = [group for group in every if group.case.dataset == dataset]
        for place, group in enumerate(groups):
            shift = 0.26 * (place - (len(groups) - 1) / 2)
            colour = COLOURS[("third", "second", "own")[place]]
            found = [group.of(cell) for cell in CELLS]
            at = [row + shift for row in range(len(CELLS))]
            axes.barh(at, [of.value for of in found], 0.24, color=colour, label=LEARNERS[group.case.kind])
            for of, y in zip(found, at, strict=True):
                share_interval(axes, of.interval, y, 0.9)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        named_rows(axes, CELLS)
        axes.set_xlim(left=0)
    legend_below(figure, 3)
    save(figure, folder / "harmless.png")
