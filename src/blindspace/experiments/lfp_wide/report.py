"""Wide two-layer networks: rows, claims, verdicts and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from scipy.stats import spearmanr
from torch import Tensor

from ..common.intervals import Estimate
from ..common.learnt import mean, null
from ..common.pictures import COLOURS, INK, Line, new_figure, plain, plot, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .measure import drawn_targets
from .settings import (
    EPS,
    FEW_IMAGES,
    GAUSS,
    IMAGES,
    LEARNT,
    MNIST,
    ON,
    SAMPLES_ON,
    STEPS,
    TIME,
    WIDTHS,
    Case,
    Taught,
    WideSettings,
    steps_case,
    width_case,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED_COSINES = {
    (TIME["identity"], 1): 0.07,
    (TIME["identity"], 3): 0.50,
    (TIME["identity"], 5): 0.83,
    (TIME["identity"], 10): 0.98,
    (IMAGES, 10): 0.56,
    (IMAGES, 20): 0.86,
    (IMAGES, 100): 0.95,
}
"""Read off the figures of Kumano et al. 2024: one seed, the best of a grid of learning rates."""

PUBLISHED_AGREEMENTS = {
    (LEARNT["identity"], 0.002): 0.50,
    (LEARNT["identity"], 0.004): 0.77,
    (LEARNT["identity"], 0.006): 0.95,
    (LEARNT["identity"], 0.01): 0.99,
    (IMAGES, 0.056): 0.86,
    (IMAGES, 0.14): 0.95,
}

PARALLEL = 0.9
"""Cosine, or agreement, from which on it is said that directions, or networks, agree."""

COSINE, AGREEMENT = "|cosine| to the predicted direction", "agreement of the two networks"


def _title(case: Case) -> str:
    few = ", 2000 images" if case.name == FEW_IMAGES else ""
    return f"{case.data}{few}, {case.loss} loss, width {case.width}, rate {case.rate:g}"


def cosines(s: WideSettings, done: Parts, name: str, time: int | None = None) -> Tensor:
    """Mean |cosine| over points after a number of steps, the last if None, for each seed, ``(seeds,)``."""
    times = s.case(name).times
    return done[name].arrays["size of the cosine"][:, -1 if time is None else times.index(time)].double()


def agreements(done: Parts, name: str, taught: Taught) -> Tensor:
    """Agreements of each seed, ``(seeds,)``."""
    return done[name].arrays[f"agreement/{taught.name}"].double()


def cosine(s: WideSettings, done: Parts, name: str, time: int | None = None, reason: str = "") -> Row:
    """Mean over the seeds, with the published value where there is one."""
    case = s.case(name)
    time = case.times[-1] if time is None else time
    of, given = mean(cosines(s, done, name, time)), PUBLISHED_COSINES.get((name, time))
    given = None if s.preset == "smoke" else given
    return Row(f"{_title(case)}, {_steps(time)}", COSINE, of.value, given, of.interval, reason=reason, form=".3f")


def agrees(s: WideSettings, done: Parts, name: str, taught: Taught) -> Row:
    """Mean over the seeds; of a control the range of single seeds in the place of the interval of the mean."""
    case, values = s.case(name), agreements(done, name, taught)
    control = taught.noise or taught.eps == 0
    of = null(values) if control else mean(values)
    given = None if control or s.preset == "smoke" else PUBLISHED_AGREEMENTS.get((name, taught.eps))
    words = f"single seeds {_range(values)}"
    words = f"null distribution, with the range of 95 % of seeds; {words}" if control else words
    words += "; published: one seed, the best of a grid of rates" if given is not None else ""
    name = f"{_title(case)}, {_steps(case.times[-1])}, {taught.name}"
    return Row(name, AGREEMENT, of.value, given, of.interval, control, words, ".3f")


def imbalance(s: WideSettings, name: str) -> Tensor:
    """|mean label| that the second network of each seed is taught, ``(seeds,)``."""
    case = s.case(name)
    return torch.stack([drawn_targets(s, seed, case.samples or 0).mean().abs() for seed in range(case.seeds)])


def of_balanced(s: WideSettings, done: Parts, name: str, taught: Taught) -> Tensor:
    """Agreements of the half of the seeds whose random labels are most balanced, ``(seeds / 2,)``."""
    order = imbalance(s, name).argsort(stable=True)[: s.case(name).seeds // 2]
    return agreements(done, name, taught)[order]


def balanced(s: WideSettings, done: Parts, name: str, taught: Taught) -> Row:
    """Mean over the seeds of most balanced labels: what one lucky seed shows."""
    values = of_balanced(s, done, name, taught)
    of = mean(values)
    case = f"{_title(s.case(name))}, {taught.name}, the {len(values)} seeds of most balanced labels"
    given = None if s.preset == "smoke" else PUBLISHED_AGREEMENTS.get((name, taught.eps))
    return Row(case, AGREEMENT, of.value, given, of.interval, form=".3f")


def by_imbalance(s: WideSettings, done: Parts) -> float:
    """Spearman's rank correlation of agreement with |mean label|, over the seeds, at the largest perturbations."""
    name = LEARNT["identity"]
    found = spearmanr(imbalance(s, name).numpy(), agreements(done, name, _largest(s, name)).numpy()).statistic
    return float(found) if found == found else 0.0  # Undefined where all agreements are equal.


def _steps(time: int) -> str:
    return f"{time} step{'s' if time > 1 else ''}"


def _range(values: Tensor) -> str:
    return f"{float(values.min()):.2f} to {float(values.max()):.2f}"


def rows(s: WideSettings, done: Parts) -> list[Row]:
    """Directions by training time, loss and width, then agreements by size, loss, width and length of training."""
    made = []
    for name in TIME.values():
        made += [cosine(s, done, name, time, _between(s, done, name, time)) for time in s.case(name).times]
    made += [cosine(s, done, IMAGES, time) for time in s.case(IMAGES).times]
    made += [cosine(s, done, width_case(width)) for width in WIDTHS]
    for name in (*LEARNT.values(), SAMPLES_ON, IMAGES, FEW_IMAGES):
        made += [agrees(s, done, name, taught) for taught in s.case(name).taught]
    name = LEARNT["identity"]
    made += [balanced(s, done, name, Taught(eps)) for eps in EPS]
    made.append(
        Row(
            f"{_title(s.case(name))}, {_largest(s, name).name}",
            "rank correlation of agreement with |mean label|",
            by_imbalance(s, done),
            reason="the mean of the random labels moves biases as far as perturbations move weights",
            form=".2f",
        )
    )
    for name in (*map(width_case, WIDTHS), *map(steps_case, STEPS)):
        made += [agrees(s, done, name, taught) for taught in s.case(name).taught]
    return made


def _between(s: WideSettings, done: Parts, name: str, time: int) -> str:
    """Why the first published values are lower than ours: they are those of fewer steps."""
    if (name, time) not in PUBLISHED_COSINES or s.preset == "smoke":
        return ""
    if time == 1:
        return "published: one seed; a random vector has 0.08, as a network before its first step"
    earlier = float(cosines(s, done, name, time - 1).mean())
    return f"published: one seed; after {_steps(time - 1)} ours is {earlier:.3f}"


def _low(of: Estimate) -> float:
    return of.interval[0] if of.interval else of.value


def _largest(s: WideSettings, name: str) -> Taught:
    """The largest perturbations that a case teaches."""
    return max((each for each in s.case(name).taught if not each.noise), key=lambda each: each.eps)


def _all_above(values: Sequence[Tensor]) -> list[bool]:
    return [_low(mean(each)) >= PARALLEL for each in values]


def claims(s: WideSettings, done: Parts) -> list[Claim]:
    """What the figures say, and where the published protocol hides something."""
    early, late = cosines(s, done, TIME["identity"], 1), cosines(s, done, TIME["identity"])
    few = FEW_IMAGES
    alone, on = Taught(0.14), Taught(0.14, ON)
    noise, nothing = Taught(0.14, noise=True), Taught(0.0, ON)
    made = [
        Claim(
            f"trained networks have perturbations along the predicted direction: |cosine| {late.mean():.3f} on "
            f"{GAUSS} after {_steps(s.case(TIME['identity']).times[-1])} ({early.mean():.3f} after one), "
            f"{cosines(s, done, IMAGES).mean():.3f} on {MNIST}",
            all(_all_above([late, cosines(s, done, IMAGES)])),
        ),
        Claim(
            "narrow networks do too: "
            + ", ".join(f"width {w} {cosines(s, done, width_case(w)).mean():.3f}" for w in WIDTHS),
            all(_all_above([cosines(s, done, width_case(w)) for w in WIDTHS])),
        ),
        Claim(
            "agreement grows with the perturbations: "
            + ", ".join(f"ε {e:g} {agreements(done, LEARNT['identity'], Taught(e)).mean():.3f}" for e in EPS),
            _rises([agreements(done, LEARNT["identity"], Taught(e)) for e in EPS]),
        ),
        Claim(
            "with the loss −y f(x), whose pull never ends, what decides is whether the random labels happen to be "
            f"balanced: rank correlation of agreement with |mean label| {by_imbalance(s, done):.2f}, so that one seed "
            "shows anything",
            by_imbalance(s, done) < -0.5,
        ),
        Claim(
            f"the null distribution is not ½ ± noise: without any perturbation, networks taught {ON} agree with the "
            f"first in {_range(agreements(done, SAMPLES_ON, nothing))} of points on {GAUSS}, "
            f"{_range(agreements(done, few, nothing))} on {MNIST}; one seed of it shows nothing",
            float(agreements(done, SAMPLES_ON, nothing).std()) > 0.1,
        ),
        Claim(
            f"perturbations taught alone are above their null in every seed on {MNIST}: "
            f"{_range(agreements(done, few, alone))} against {_range(agreements(done, few, noise))} of noise",
            bool(agreements(done, few, alone).min() > agreements(done, few, noise).max()),
        ),
        Claim(
            f"at the published size, those taught {ON} are above the null of no perturbation: "
            f"{GAUSS} by {_paired(done, SAMPLES_ON, _largest(s, SAMPLES_ON), nothing)}, "
            f"{MNIST} by {_paired(done, few, on, nothing)}",
            all(
                _low(mean(agreements(done, name, taught) - agreements(done, name, nothing))) > 0
                for name, taught in ((SAMPLES_ON, _largest(s, SAMPLES_ON)), (few, on))
            ),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def _paired(done: Parts, name: str, taught: Taught, other: Taught) -> str:
    return str(mean(agreements(done, name, taught) - agreements(done, name, other)))


def _rises(values: Sequence[Tensor]) -> bool:
    """Whether means never fall from one to the next by more than the half-width of an interval of their difference."""
    steps = [mean(b - a) for a, b in pairwise(values)]
    return all(step.interval is None or step.interval[1] >= 0 for step in steps)


def verdicts(s: WideSettings, done: Parts) -> list[Verdict]:
    """Directions, agreement, and the losses."""
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in ("wide", "gradients", "losses")]
    return [_wide(s, done), _gradients(s, done), _losses(s, done)]


def _wide(s: WideSettings, done: Parts) -> Verdict:
    directions = _all_above([cosines(s, done, TIME["identity"]), cosines(s, done, IMAGES)])
    alone = [(name, _largest(s, name)) for name in (*LEARNT.values(), IMAGES)]
    on = [(SAMPLES_ON, _largest(s, SAMPLES_ON)), (FEW_IMAGES, Taught(0.14, ON))]
    agree = _all_above([agreements(done, *each) for each in alone + on])
    because = (
        f"directions do in {sum(directions)} of {len(directions)} cases, and networks agree in {sum(agree)} of "
        f"{len(agree)}; with the loss −y f(x) the rank correlation of agreement with |mean label| is "
        f"{by_imbalance(s, done):.2f}"
    )
    return _verdict(
        "wide",
        [*directions, *agree],
        [cosine(s, done, TIME["identity"]), cosine(s, done, IMAGES), *(agrees(s, done, *each) for each in alone + on)],
        "the loss, the balance of the random labels, and whether perturbations are taught alone or on the samples",
        because,
    )


def _gradients(s: WideSettings, done: Parts) -> Verdict:
    start, end = cosine(s, done, TIME["identity"], 1), cosine(s, done, TIME["identity"])
    shown = [start, cosine(s, done, TIME["identity"], 10), end, cosine(s, done, IMAGES)]
    narrow = cosine(s, done, width_case(WIDTHS[0]))
    holds = all(_all_above([cosines(s, done, TIME["identity"]), cosines(s, done, IMAGES)]))
    because = (
        f"once what training adds outweighs the start; even a width of {WIDTHS[0]} has {narrow.ours:.3f}; for deeper "
        "networks see lfp-span"
    )
    return _verdict("gradients", [holds], [*shown, narrow], "", because if holds else "")


def _losses(s: WideSettings, done: Parts) -> Verdict:
    names = [TIME[loss] for loss in TIME]
    directions = _all_above([cosines(s, done, name) for name in names])
    taught = _all_above([agreements(done, name, _largest(s, name)) for name in LEARNT.values()])
    return _verdict(
        "losses",
        [a and b for a, b in zip(directions, taught, strict=True)],
        [
            *(cosine(s, done, name) for name in names),
            *(agrees(s, done, name, _largest(s, name)) for name in LEARNT.values()),
        ],
        "the loss",
    )


def _verdict(question: str, holds: list[bool], shown: list[Row], on: str, because: str = "") -> Verdict:
    answer: Answer = "holds" if all(holds) else "depends" if any(holds) else "does not hold"
    return Verdict(question, answer, shown, on if answer == "depends" else "", because)


def draw(s: WideSettings, done: Parts, folder: Path) -> None:
    """Cosines over training, agreements over the size, and single seeds with their null."""
    figure = new_figure(15.5, 3.8)
    left, middle, right = figure.subplots(1, 3, gridspec_kw={"wspace": 1.0, "width_ratios": (1, 1, 1.1)})
    _draw_time(s, done, left)
    _draw_eps(s, done, middle)
    _draw_seeds(s, done, right)
    save(figure, folder / "wide.png")


def _draw_time(s: WideSettings, done: Parts, axes: Axes) -> None:
    axes = plain(axes, "where perturbations point (×: published)", "steps of training", COSINE)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    lines = []
    for (loss, name), colour in zip(TIME.items(), ("own", "second", "third"), strict=True):
        times = s.case(name).times
        lines.append(_line(loss, times, [mean(cosines(s, done, name, time)) for time in times], colour))
    published = [(time, value) for (name, time), value in PUBLISHED_COSINES.items() if name == TIME["identity"]]
    axes.plot(*zip(*published, strict=True), "x", color=COLOURS["paper"])
    plot(axes, lines)


def _draw_eps(s: WideSettings, done: Parts, axes: Axes) -> None:
    axes = plain(axes, f"what {GAUSS} teaches (×: published)", "ε", AGREEMENT)
    axes.set_ylim(0.4, 1.02)
    found = [mean(agreements(done, LEARNT["identity"], Taught(eps))) for eps in EPS]
    published = [(eps, value) for (name, eps), value in PUBLISHED_AGREEMENTS.items() if name == LEARNT["identity"]]
    axes.plot(*zip(*published, strict=True), "x", color=COLOURS["paper"])
    noise = agreements(done, LEARNT["identity"], Taught(EPS[-1], noise=True))
    axes.axhspan(float(noise.min()), float(noise.max()), color=COLOURS["control"], alpha=0.3, linewidth=0)
    lucky = [mean(of_balanced(s, done, LEARNT["identity"], Taught(eps))) for eps in EPS]
    lines = [_line("all seeds", EPS, found, "own"), _line("balanced", EPS, lucky, "second")]
    plot(axes, [*lines, Line("noise", EPS[-2:], [float(noise.mean())] * 2, "control", True)])


def _line(label: str, x: Sequence[float], values: Sequence[Estimate], colour: str) -> Line:
    ends = [value.interval or (value.value, value.value) for value in values]
    return Line(label, x, [value.value for value in values], colour, band=([a for a, _ in ends], [b for _, b in ends]))


def _draw_seeds(s: WideSettings, done: Parts, axes: Axes) -> None:
    axes = plain(axes, "single seeds", "", "")
    cells = [(SAMPLES_ON, each) for each in s.case(SAMPLES_ON).taught]
    cells += [(FEW_IMAGES, each) for each in s.case(FEW_IMAGES).taught]
    names = []
    for place, (name, taught) in enumerate(cells):
        values = agreements(done, name, taught)
        control = taught.noise or taught.eps == 0
        height = torch.linspace(-0.25, 0.25, len(values)) + place
        axes.plot(values, height, "o", markersize=3.5, color=COLOURS["control" if control else "own"])
        names.append(f"{'Gauss' if name == SAMPLES_ON else 'MNIST'}, {taught.name}")
    axes.set_yticks(range(len(cells)), names)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.axvline(0.5, color=INK, linewidth=1, linestyle=":")
    axes.set_xlabel(AGREEMENT, color=INK, size=10)
