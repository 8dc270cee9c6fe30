"""A few clean labels beside perturbed samples: rows, claims, the verdict and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from pathlib import Path

import numpy as np
import torch

from ..common.intervals import Estimate
from ..common.learnt import CHANCE, Learners, accuracies, low, mean
from ..common.pictures import INK, Line, new_figure, plain, plot, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import (
    ALONE,
    BESIDE,
    NEXT,
    NEXT_NONE,
    RANDOM,
    RANDOM_NONE,
    RANDOM_SHUFFLED,
    FewSettings,
    groups,
    name,
)

CONTROLS = {RANDOM: (RANDOM_NONE, RANDOM_SHUFFLED), NEXT: (NEXT_NONE,)}
"""Controls of each set: the same images and labels."""

DECIDING = 10
"""Number of clean images per class that decides whether a few are enough."""


@dataclass(frozen=True)
class Group(Learners):
    """Students of networks that differ by their seed.

    Attributes:
        counts: Numbers of clean images per class.
    """

    counts: tuple[int, ...]

    @property
    def first(self) -> Estimate:
        """Accuracy of the networks that are attacked."""
        return mean(torch.tensor([part.values["accuracy"] for part in self.kept]))

    def gain(self, beside: str, count: int, over: str = ALONE) -> Estimate:
        """Accuracy with the samples − without them, or with those of a control, beside as many clean images."""
        return self.difference(name(beside, count), name(over, count))

    def worth(self, beside: str) -> Estimate | None:
        """How many clean images per class alone teach what the samples teach without any.

        Interpolated in the logarithm of their number; None where a seed's lies outside those measured.
        """
        counts = [count for count in self.counts if count]
        alone = torch.stack([accuracies(self.kept, name(ALONE, count)) for count in counts])
        found = []
        for value, curve in zip(accuracies(self.kept, name(beside, 0)).tolist(), alone.T.cummax(1).values, strict=True):
            if not curve[0] <= value <= curve[-1]:
                return None
            found.append(10 ** float(np.interp(value, curve.numpy(), [log10(count) for count in counts])))
        return mean(torch.tensor(found))


def found(s: FewSettings, done: Parts) -> list[Group]:
    """All networks that are attacked, over their seeds."""
    return [Group(cases[0], tuple(done[case.part] for case in cases), s.counts) for cases in groups(s)]


def _gain_row(g: Group, beside: str, count: int, over: str = ALONE) -> Row:
    of = g.gain(beside, count, over)
    quantity = f"accuracy beside {count} clean per class − that of {over}"
    return Row(f"{g.name}, {beside}", quantity, of.value, None, of.interval, form="+.3f")


def _worth_row(g: Group, beside: str) -> Row:
    of = g.worth(beside)
    case, quantity = f"{g.name}, {beside} without clean labels", "clean images per class that teach as much"
    if of is None:
        return Row(case, quantity, None, reason=f"outside the {g.counts[1]} to {g.counts[-1]} measured")
    return Row(case, quantity, of.value, None, of.interval, form=".1f")


def rows(s: FewSettings, done: Parts) -> list[Row]:
    """Network by network: what the samples are worth, then every student, then what they add to clean images."""
    made = []
    for g in found(s, done):
        of = g.first
        case = f"{g.name}, the attacked network"
        made.append(Row(case, "accuracy on clean test images", of.value, None, of.interval, form=".3f"))
        for each in (RANDOM, NEXT):
            success = g.success(each)
            made.append(Row(f"{g.name}, {each}", "success", success.value, None, success.interval, form=".3f"))
        made.append(_worth_row(g, RANDOM))
        for cell in (*BESIDE, ALONE):
            counts = [count for count in s.counts if count or cell != ALONE]
            made += [g.row(name(cell, count), control=cell not in (RANDOM, NEXT)) for count in counts]
        for each in (RANDOM, NEXT):
            for count in s.counts[1:]:
                made += [_gain_row(g, each, count, over) for over in (ALONE, *CONTROLS[each])]
    return made


def _helps(g: Group, beside: str, count: int) -> bool:
    """Whether the samples add to clean images what neither these alone nor a control has."""
    return all(low(g.gain(beside, count, over)) > 0 for over in (ALONE, *CONTROLS[beside]))


def _few(s: FewSettings) -> int:
    """The largest measured number that counts as a few."""
    return max(count for count in s.counts if count <= DECIDING)


def _listed(every: list[Group], beside: str, count: int) -> str:
    return ", ".join(f"{g.name} {g.accuracy(name(beside, count)).value:.1%}" for g in every)


def claims(s: FewSettings, done: Parts) -> list[Claim]:
    """What the samples add to clean images."""
    every, few, most = found(s, done), _few(s), s.counts[-1]
    made = [
        Claim(
            f"{few} clean images per class teach more beside perturbed samples with random targets: "
            f"{_listed(every, RANDOM, few)}; alone {_listed(every, ALONE, few)}; beside the same samples without "
            f"perturbations {_listed(every, RANDOM_NONE, few)}",
            all(_helps(g, RANDOM, few) for g in every),
        ),
        Claim(
            f"so they do beside samples whose target is the class after the true one: {_listed(every, NEXT, few)}; "
            f"without perturbations {_listed(every, NEXT_NONE, few)}",
            all(_helps(g, NEXT, few) for g in every),
        ),
        Claim(
            f"clean images add to samples with random targets: {_listed(every, RANDOM, 0)} without any",
            all(low(g.difference(name(RANDOM, few), name(RANDOM, 0))) > 0 for g in every),
        ),
        Claim(
            f"wrong labels of images that are not perturbed hurt or add nothing beside {few} clean ones per class",
            all(not low(g.gain(RANDOM_NONE, few)) > 0 for g in every),
        ),
        Claim(
            f"beside {most} clean images per class the perturbed samples still add: {_listed(every, RANDOM, most)}; "
            f"alone {_listed(every, ALONE, most)}",
            all(low(g.gain(RANDOM, most)) > 0 for g in every),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: FewSettings, done: Parts) -> list[Verdict]:
    """Whether a few clean labels are enough."""
    if s.preset == "smoke":
        return [Verdict("clean-labels", None, [])]
    every, few = found(s, done), _few(s)
    holds = {(g.name, each): _helps(g, each, few) for g in every for each in (RANDOM, NEXT)}
    answer: Answer = "holds" if all(holds.values()) else "depends" if any(holds.values()) else "does not hold"
    by_targets = [{fits for (_, each), fits in holds.items() if each == targets} for targets in (RANDOM, NEXT)]
    on = "the targets" if all(len(each) == 1 for each in by_targets) else "the data set and the targets"
    decide = [
        _gain_row(g, each, few, over) for g in every for each in (RANDOM, NEXT) for over in (ALONE, CONTROLS[each][0])
    ]
    worths = [(g.name, g.worth(RANDOM)) for g in every]
    least = s.counts[1]
    said = [f"without any clean label R teaches what {of.value:.1f} per class do ({case})" for case, of in worths if of]
    said.append(
        f"beside {least} per class R adds "
        + ", ".join(f"{g.gain(RANDOM, least).value:+.1%} ({g.name})" for g in every)
        + f", and the same wrong labels without perturbations leave {_listed(every, RANDOM_NONE, least)}"
    )
    because = "; ".join(said)
    return [Verdict("clean-labels", answer, decide, on if answer == "depends" else "", because)]


def draw(s: FewSettings, done: Parts, folder: Path) -> None:
    """Accuracy against the number of clean images per class."""
    every = found(s, done)
    cells = (RANDOM, NEXT, RANDOM_NONE, RANDOM_SHUFFLED, NEXT_NONE, ALONE)
    shown = dict(zip(cells, ("own", "gaussian", "second", "third", "shuffled", "control"), strict=True))
    figure = new_figure(8.5 * len(every), 4.4)
    figure.subplots_adjust(wspace=0.75)
    for axes, g in zip(figure.subplots(1, len(every), squeeze=False)[0], every, strict=True):
        plain(axes, g.name, "clean images per class", "accuracy on clean test images")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(s.counts, [str(count) for count in s.counts])
        axes.set_ylim(0, 1)
        axes.axhline(CHANCE, color=INK, linewidth=1, linestyle=":")
        lines = []
        for cell, colour in shown.items():
            counts = [count for count in s.counts if count or cell != ALONE]
            values = torch.stack([accuracies(g.kept, name(cell, count)) for count in counts])
            band = values.amin(1).tolist(), values.amax(1).tolist()
            dashed = cell not in (RANDOM, NEXT)
            lines.append(Line(cell, [float(count) for count in counts], values.mean(1).tolist(), colour, dashed, band))
        plot(axes, lines)
    save(figure, folder / "few.png")
