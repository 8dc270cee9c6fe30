"""Where the boundaries differ: rows, claims and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from ..common.intervals import Estimate, of_mean
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .settings import NATURAL, NOISE, BoundarySettings, Setting

FEW = 0.05
"""Share of exceptions up to which two boundaries agree "but for" these."""


def over_draws(s: BoundarySettings, done: Parts, setting: Setting, of: Callable[[dict[str, Any]], Any]) -> Estimate:
    """Mean over the draws of what was measured in a setting, with Student's interval; where there is a value."""
    found = [of(done[f"draw-{seed}"].values["settings"][setting.name]) for seed in range(s.seeds)]
    values = torch.tensor([each for each in found if each is not None], dtype=torch.float64)
    return Estimate(float(values.mean()), of_mean(values)) if len(values) else Estimate(0.0, None)


def exceptions(s: BoundarySettings, done: Parts, setting: Setting) -> Row:
    """Share of fresh points on which the two networks differ."""
    found = over_draws(s, done, setting, lambda values: 1 - values["agree"] / s.points)
    held = over_draws(s, done, setting, lambda values: float(values["exact"])).value
    words = f"the solution is one of the network in {held:.0%} of the draws"
    return Row(setting.name, "exceptions among fresh points", found.value, None, found.interval, False, words, ".4f")


def correlated(s: BoundarySettings, done: Parts, setting: Setting, correlation: float) -> Row:
    """Exceptions among points near one sample whose target contradicts the first network."""
    place = s.correlations.index(correlation)
    found = over_draws(s, done, setting, lambda v: 1 - v["correlated"][place] if "correlated" in v else None)
    case = f"{setting.name}, correlation {correlation:g} with a sample of wrong target"
    return Row(case, "exceptions", found.value, None, found.interval, form=".4f")


PREDICTORS = {
    "by correlation": "exceptions by largest correlation with a sample, area under the curve",
    "by distance": "exceptions by nearness to the first boundary, area under the curve",
}
"""What may distinguish the exceptions."""


def _noise_ends(s: BoundarySettings) -> tuple[Setting, Setting]:
    """The fewest and smallest perturbations of noise, and the largest."""
    return s.more[0], s.larger(NOISE)[-1]


def predicts(s: BoundarySettings, done: Parts, setting: Setting, what: str) -> Row:
    """How well a figure distinguishes the exceptions among fresh points."""
    found = over_draws(s, done, setting, lambda values: values[what])
    return Row(setting.name, PREDICTORS[what], found.value, None, found.interval, False, "chance 0.5", ".3f")


def mended(s: BoundarySettings, done: Parts) -> list[Row]:
    """Share of the exceptions of the smallest setting that agree in the largest ones."""
    made = []
    for place, end in enumerate((s.more[-1], s.larger(NOISE)[-1])):
        kept = [done[f"draw-{seed}"].values for seed in range(s.seeds)]
        values = torch.tensor([each["mended"][place] / max(each["exceptions"], 1) for each in kept])
        case = f"exceptions of {s.more[0].name}, with {end.name}"
        made.append(Row(case, "share that agrees", float(values.double().mean()), None, of_mean(values), form=".3f"))
    return made


def rows(s: BoundarySettings, done: Parts) -> list[Row]:
    """Setting by setting; then correlated points; then what becomes of exceptions."""
    made = []
    for setting in s.all:
        region = over_draws(s, done, setting, lambda values: values["dominated"] / s.points)
        inside = over_draws(
            *(s, done, setting), lambda v: v["agree in it"] / v["dominated"] if v["dominated"] else None
        )
        made += [
            exceptions(s, done, setting),
            Row(setting.name, "fresh points in the region of predicted agreement", *_ours(region), form=".4f"),
            Row(setting.name, "agreement in that region", *_ours(inside), form=".4f"),
            predicts(s, done, setting, "by correlation"),
            predicts(s, done, setting, "by distance"),
        ]
    made += [correlated(s, done, setting, c) for setting in ends(s) for c in s.correlations]
    return made + mended(s, done)


def _ours(found: Estimate) -> tuple[float, None, tuple[float, float] | None]:
    return found.value, None, found.interval


def ends(s: BoundarySettings) -> list[Setting]:
    """The smallest and largest settings."""
    each = (s.more[0], s.more[-1], s.larger(NOISE)[-1], s.larger(NATURAL)[0], s.larger(NATURAL)[-1])
    return list(dict.fromkeys(each))


def _falls(found: list[Row]) -> bool:
    """Whether the last figure is surely below the first, and none surely above the one before."""
    bounds = [row.interval or (row.ours or 0.0, row.ours or 0.0) for row in found]
    rises = any(after[0] > before[1] for before, after in pairwise(bounds))
    return bounds[-1][1] < bounds[0][0] and not rises


def claims(s: BoundarySettings, done: Parts) -> list[Claim]:
    """The region, correlation, and more or larger perturbations."""
    of, agree = (
        sum(done[f"draw-{seed}"].values["settings"][each.name][key] for seed in range(s.seeds) for each in s.all)
        for key in ("dominated", "agree in it")
    )
    near, far = (correlated(s, done, s.more[0], c) for c in (s.correlations[-1], s.correlations[0]))
    by, nearness = ([predicts(s, done, each, what) for each in _noise_ends(s)] for what in PREDICTORS)
    made = [
        Claim(f"both networks agree in the region of predicted agreement: {agree} of {of} points", agree == of),
        Claim(
            "points near a sample whose target contradicts the first network are exceptions more often: "
            f"{near.ours:.2f} against {far.ours:.2f} ({s.more[0].name})",
            (near.ours or 0) > (far.ours or 0),
        ),
        Claim(
            "exceptions among fresh points are distinguished by their nearness to the first boundary, and hardly by "
            "their largest correlation with a sample: "
            + "; ".join(f"{n.ours:.2f} against {c.ours:.2f} ({n.case})" for n, c in zip(nearness, by, strict=True)),
            all((n.ours or 0) > (c.ours or 0) + 0.1 for n, c in zip(nearness, by, strict=True)),
        ),
    ]
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: BoundarySettings, done: Parts) -> list[Verdict]:
    """Whether correlation makes the exceptions, and whether they vanish."""
    if s.preset == "smoke":
        return [Verdict("except-correlated", None, []), Verdict("exceptions", None, [])]
    return [_correlation(s, done), _vanish(s, done)]


def _correlation(s: BoundarySettings, done: Parts) -> Verdict:
    by, nearness = ([predicts(s, done, each, what) for each in _noise_ends(s)] for what in PREDICTORS)
    near = correlated(s, done, s.more[0], s.correlations[-1])
    few = [exceptions(s, done, setting) for setting in _noise_ends(s)]
    agree = [(row.ours or 0) <= FEW for row in few]
    at_samples = (near.interval or (near.ours or 0.0,))[0] > 0.5
    distinguished = [(row.ours or 0) > 0.7 for row in by]
    answer: Answer = "does not hold"
    if at_samples and all(agree) and all(distinguished):
        answer = "holds"
    elif at_samples and any(agree):
        answer = "depends"
    on = "the size of the perturbations" if answer == "depends" else ""
    because = (
        "Points without any large correlation are exceptions too, those near the first boundary: it is nearness that "
        "distinguishes exceptions among fresh points, rather than correlation"
        if (nearness[0].ours or 0) > (by[0].ours or 0)
        else "Exceptions among fresh points are those of large correlation"
    )
    return Verdict("except-correlated", answer, [*few, near, *by, *nearness], on, because)


def _vanish(s: BoundarySettings, done: Parts) -> Verdict:
    more = [exceptions(s, done, setting) for setting in s.more]
    larger = [exceptions(s, done, setting) for setting in s.larger(NOISE)]
    natural = [exceptions(s, done, setting) for setting in s.larger(NATURAL)]
    fall = {"more samples": _falls(more), "larger perturbations": _falls(larger) and _falls(natural)}
    answer: Answer = "holds" if all(fall.values()) else "depends" if any(fall.values()) else "does not hold"
    on = "which of the two: " + ", ".join(what for what, falls in fall.items() if falls) if answer == "depends" else ""
    shown = [more[0], more[-1], larger[-1], natural[0], natural[-1], *mended(s, done)]
    return Verdict("exceptions", answer, shown, on)
