"""Subliminal learning: rows, claims, the verdict and the picture."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import Estimate
from ..common.learnt import CHANCE, mean, of_sets
from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import BOTH, HIDDEN, IMAGES, LEARNT, LOGITS, NEITHER, NOISE, SHARED, UNPERTURBED, SubliminalSettings

ACCURACY = "accuracy on clean test images"


def accuracies(done: Parts, what: str, shared: str) -> Tensor:
    """Accuracy of the student of each seed, ``(seeds,)``."""
    return torch.tensor([kept.values[f"{what}/{shared}"] for kept in done.values()], dtype=torch.float64)


def difference(done: Parts, what: str, shared: str, other: str = NEITHER) -> Estimate:
    """Accuracy of the students that share something minus those that share something else, over the seeds."""
    return mean(accuracies(done, what, shared) - accuracies(done, what, other))


def learnt(done: Parts, what: str, shared: str) -> Row:
    """Accuracy of a student."""
    values = accuracies(done, what, shared)
    of, control = mean(values), what in UNPERTURBED.values()
    each = "seeds: " + ", ".join(f"{value:.1%}" for value in values.tolist())
    if what == UNPERTURBED[IMAGES]:
        each += "; below chance, because no target is the true class"
    return Row(f"{what}, shares {shared}", ACCURACY, of.value, None, of.interval, control, each, ".1%")


def gained(done: Parts, what: str, shared: str = BOTH) -> Row:
    """How much better a student is for what it shares."""
    of = difference(done, what, shared)
    return Row(f"{what}, shares {shared} − {NEITHER}", ACCURACY, of.value, None, of.interval, form="+.1%")


def rows(s: SubliminalSettings, done: Parts) -> list[Row]:
    """The first network, the sets, every student, and what sharing adds."""
    first = mean(torch.tensor([kept.values["first"] for kept in done.values()]))
    made = [Row("first network", ACCURACY, first.value, None, first.interval, form=".1%")]
    for name in UNPERTURBED:
        success = mean(of_sets(list(done.values()), name))
        made.append(Row(name, "the first network sees the target", success.value, None, success.interval, form=".1%"))
    for what in LEARNT:
        made += [learnt(done, what, shared) for shared in SHARED]
        made += [gained(done, what, shared) for shared in SHARED if shared != NEITHER]
    return made + [learnt(done, control, BOTH) for control in UNPERTURBED.values()]


def _low(of: Estimate) -> float:
    return of.interval[0] if of.interval else of.value


def _table(done: Parts, what: str) -> str:
    return ", ".join(f"{shared} {accuracies(done, what, shared).mean():.1%}" for shared in SHARED)


def _teaches(done: Parts, what: str, shared: str) -> bool:
    """Whether a student surely knows more than nothing, and more than it would without perturbations."""
    base = UNPERTURBED.get(what)
    control = accuracies(done, base, BOTH) if base else torch.zeros(len(done), dtype=torch.float64)
    values = accuracies(done, what, shared)
    return _low(mean(values)) > CHANCE and _low(mean(values - control)) > 0


def claims(s: SubliminalSettings, done: Parts) -> list[Claim]:
    """What is transmitted by what."""
    made = [
        Claim(
            f"three auxiliary logits on noise teach a student that shares its start (as Cloud et al. found), and no "
            f"other: shares {_table(done, LOGITS)}",
            _teaches(done, LOGITS, BOTH) and not _teaches(done, LOGITS, NEITHER),
        ),
        Claim(
            f"perturbed images teach students that share nothing with the network they fool: shares "
            f"{_table(done, IMAGES)}; without perturbations "
            f"{accuracies(done, UNPERTURBED[IMAGES], BOTH).mean():.1%}",
            _teaches(done, IMAGES, NEITHER),
        ),
        Claim(
            f"perturbed noise does too: shares {_table(done, NOISE)}; without perturbations "
            f"{accuracies(done, UNPERTURBED[NOISE], BOTH).mean():.1%}",
            _teaches(done, NOISE, NEITHER),
        ),
        Claim(
            f"a shared start adds to what perturbations teach: on images {difference(done, IMAGES, BOTH)}, on noise "
            f"{difference(done, NOISE, BOTH)}",
            _low(difference(done, IMAGES, BOTH)) > 0 and _low(difference(done, NOISE, BOTH)) > 0,
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: SubliminalSettings, done: Parts) -> list[Verdict]:
    """Whether learning from perturbations needs what subliminal learning needs."""
    if s.preset == "smoke":
        return [Verdict("shared-start", None, [])]
    needed = [not _teaches(done, what, NEITHER) for what in (IMAGES, NOISE)]
    answer: Answer = "holds" if all(needed) else "depends" if any(needed) else "does not hold"
    shown = [learnt(done, LOGITS, BOTH), learnt(done, LOGITS, NEITHER)]
    for what in (IMAGES, NOISE):
        shown += [learnt(done, what, NEITHER), gained(done, what)]
    hidden = accuracies(done, LOGITS, HIDDEN).mean()
    because = f"imitation of auxiliary logits does need it; sharing the hidden layers alone gives {hidden:.1%}"
    return [
        Verdict(
            "shared-start",
            answer,
            shown,
            "what is perturbed" if answer == "depends" else "",
            because if not _teaches(done, LOGITS, NEITHER) else "",
        )
    ]


def draw(s: SubliminalSettings, done: Parts, folder: Path) -> None:
    """Accuracies of all students, seed by seed."""
    figure = new_figure(11, 2.9)
    for axes, what in zip(figure.subplots(1, 3, sharey=True), LEARNT, strict=True):
        plain(axes, what, ACCURACY)
        for place, shared in enumerate(SHARED):
            values = accuracies(done, what, shared)
            axes.barh(place, float(values.mean()), color=COLOURS["control" if shared == NEITHER else "own"], alpha=0.8)
            axes.plot(values, torch.full_like(values, place), "o", color=INK, markersize=3)
        if what in UNPERTURBED:
            values = accuracies(done, UNPERTURBED[what], BOTH)
            axes.barh(len(SHARED), float(values.mean()), color=COLOURS["shuffled"], alpha=0.8)
            axes.plot(values, torch.full_like(values, len(SHARED)), "o", color=INK, markersize=3)
        axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
        names = [f"shares {shared}" for shared in SHARED]
        axes.set_yticks(range(len(SHARED) + 1), [*names, "without perturbation"])
        axes.set_ylim(len(SHARED) + 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
    save(figure, folder / "subliminal.png")
