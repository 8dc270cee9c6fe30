"""Artificial data: rows, claims and verdicts."""

from __future__ import annotations

from ..common.intervals import Estimate
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Parts
from .found import base, difference, exact, point, sweep
from .pictures import draw
from .settings import CONTROLS, FROM_SHUFFLED, GRADIENT, NORMS, PUBLISHED, SWEEPS, WRITTEN, ArtificialSettings

__all__ = ["claims", "draw", "rows", "verdicts"]

NATURAL, FRESH = "accuracy on natural samples", "agreement with the first network on fresh points"

MEASURED = {"natural": NATURAL, "fresh": FRESH}

SIZE_REASON = "the published run has ten times the size, one seed and 100,000 epochs"

EARLIER = {"wide, along q": 1.0, "wide, none": 0.49}
"""An earlier measurement of the base point, with one normalised gradient step as the attack."""

NAMES = {
    "first": "the first network itself",
    "wide, along q": "perturbed along q",
    "wide, authors-l2": "attacked, authors-l2",
    "wide, none": "control: pure noise",
    FROM_SHUFFLED: f"control: {FROM_SHUFFLED}",
    "Gaussian noise": "Gaussian noise perturbed along q",
    "as many of noise": "noise perturbed along q, as many as natural samples",
    "natural": "natural samples perturbed along q, random targets",
    "natural, all wrong": "natural samples perturbed along q, wrong targets for all",
    "natural, none": "control: natural samples without perturbation, random targets",
    "exact, along q": "perturbed along q, both networks by the quadratic programme",
    **{name: f"control: {name}" for name in CONTROLS},
    **{f"small, {norm} along q": f"small, {WRITTEN[norm]} along q" for norm in NORMS},
    **{f"small, {attack}": f"small, attacked, {attack}" for attack in GRADIENT},
}
"""What second networks learn from, at the base point, as tables name it; in their order."""


def base_row(s: ArtificialSettings, done: Parts, cell: str, of: str = "natural") -> Row:
    """A figure at the base point."""
    found, words = base(s, done, cell, of), ""
    if cell == "exact, along q":
        seeds = sum(1 for value in exact(s, done) if value is not None)
        words = f"solutions exist in {seeds} of {s.seeds} draws"
    form = ".3f"
    name = f"base point, {NAMES[cell]}"
    reference = EARLIER.get(cell) if of == "natural" and s.preset == "cpu" else None
    return Row(name, MEASURED[of], found.value, reference, found.interval, "control" in NAMES[cell], words, form)


def sweep_row(s: ArtificialSettings, done: Parts, of: str, value: float, norm: str, figure: str = "natural") -> Row:
    """A figure at a point of a sweep; published accuracies beside it where lengths are in the same proportion."""
    found = sweep(s, done, of, value, norm, figure)
    at = s.sweep(of)[value]
    largest = {"d": s.base.dim, "N": s.base.count, "ε": 1.0, "N_adv": s.base.noise}[of]
    published = PUBLISHED.get((of, norm), {}).get(value / largest) if figure == "natural" else None
    learns = point(s, done, of, value, "first")
    words = f"first network {learns.value:.3f} on its samples" if figure == "natural" and norm == "l2" else ""
    if published is not None:
        words = "; ".join(filter(None, [words, SIZE_REASON]))
    name = f"{of} {value:g}, {WRITTEN.get(norm, 'control: pure noise')}"
    name += f", d {at.dim}, N {at.count}, N_adv {at.noise}, ε {at.eps:.3g}"
    return Row(name, MEASURED[figure], found.value, published, found.interval, norm == "none", words, ".3f")


def difference_row(s: ArtificialSettings, done: Parts, one: str, other: str, of: str = "natural") -> Row:
    """How two cells of the base point differ, seed by seed."""
    found = difference(s, done, one, other, of)
    name = f"base point, {NAMES[one]} − {NAMES[other]}"
    return Row(name, MEASURED[of], found.value, None, found.interval, form="+.3f")


def rows(s: ArtificialSettings, done: Parts) -> list[Row]:
    """The base point with its controls, then the sweeps."""
    made = [base_row(s, done, cell, of) for cell in NAMES if cell != "exact, along q" for of in MEASURED]
    if any(exact(s, done)):
        made += [base_row(s, done, "exact, along q", of) for of in MEASURED]
    made += [difference_row(s, done, "as many of noise", "natural", of) for of in MEASURED]
    for of in SWEEPS:
        for norm in (*NORMS, "none"):
            made += [sweep_row(s, done, of, value, norm) for value in s.sweep(of)]
    made += [sweep_row(s, done, "d", value, "l2", "fresh") for value in s.sweep("d")]
    return made


def _low(of: Estimate) -> float:
    return of.interval[0] if of.interval else of.value


def _high(of: Estimate) -> float:
    return of.interval[1] if of.interval else of.value


def falls(values: list[Estimate]) -> list[int]:
    """Where a trend that should rise falls: the places after which the interval of the next value lies below."""
    return [i for i in range(len(values) - 1) if _high(values[i + 1]) < _low(values[i])]


def trend(s: ArtificialSettings, done: Parts, of: str, norm: str) -> list[Estimate]:
    """Accuracies along a sweep in the order in which the paper's rise."""
    values = [sweep(s, done, of, value, norm) for value in s.sweep(of)]
    return values[::-1] if of == "N" else values


def claims(s: ArtificialSettings, done: Parts) -> list[Claim]:
    """The base point, and the trends."""
    noise, none = base(s, done, "wide, along q"), base(s, done, "wide, none")
    made = [
        Claim(
            f"at the base point perturbed noise teaches all natural samples, {noise.value:.3f}, and noise alone "
            f"nothing, {none.value:.3f}",
            noise.value > 0.99 and _low(none) <= 0.5 <= _high(none),
        )
    ]
    for of in SWEEPS:
        trends = {norm: trend(s, done, of, norm) for norm in NORMS}
        direction = "falls" if of == "N" else "grows"
        written = "; ".join(
            f"{WRITTEN[norm]} {' '.join(f'{each.value:.2f}' for each in (found[::-1] if of == 'N' else found))}"
            for norm, found in trends.items()
        )
        made.append(
            Claim(
                f"accuracy {direction} with {of}, as published: {written}",
                all(not falls(found) and _low(found[-1]) > _high(found[0]) for found in trends.values()),
            )
        )
    return [Claim(claim.text, None) for claim in made] if s.preset == "smoke" else made


def verdicts(s: ArtificialSettings, done: Parts) -> list[Verdict]:
    """Whether noise suffices, is better, how attacks compare, and what low dimension does."""
    questions = ("noise-suffices", "noise-better", "attacks", "low-dimension")
    if s.preset == "smoke":
        return [Verdict(question, None, []) for question in questions]
    return [_suffices(s, done), _better(s, done), _attacks(s, done), _low_dimension(s, done)]


def _suffices(s: ArtificialSettings, done: Parts) -> Verdict:
    enough = [_low(base(s, done, cell)) > 0.95 for cell in ("wide, along q", "wide, authors-l2")]
    least = min(sweep(s, done, of, value, "l2").value for of in SWEEPS for value in s.sweep(of))
    answer: Answer = "holds" if all(enough) else "does not hold"
    shown = [base_row(s, done, cell) for cell in ("wide, along q", "wide, authors-l2", "wide, none", FROM_SHUFFLED)]
    return Verdict(
        "noise-suffices",
        answer,
        shown,
        because=(
            "With fewer or smaller perturbations, fewer dimensions or more natural samples it is less, down to "
            f"{least:.2f}"
        ),
    )


def _better(s: ArtificialSettings, done: Parts) -> Verdict:
    shown = [difference_row(s, done, "as many of noise", "natural", of) for of in MEASURED]
    better = [_low(difference(s, done, "as many of noise", "natural", of)) > 0 for of in MEASURED]
    answer: Answer = "holds" if all(better) else "depends" if any(better) else "does not hold"
    on = "where it is asked: at the natural samples, or at fresh points" if answer == "depends" else ""
    shown += [base_row(s, done, cell, of) for of in MEASURED for cell in ("as many of noise", "natural")]
    because = (
        "Numbers and sizes of the perturbations are equal, targets random. At the natural samples a network that "
        "learns from them answers the targets that it was trained on, which are right by chance"
    )
    return Verdict("noise-better", answer, shown, on, because)


PAIRS = {"l2": "small, l2 along q", "linf": "small, linf along q", "l0": "small, l0 along q"}
"""Attacks beside the perturbations along q of their norm."""


def _attacks(s: ArtificialSettings, done: Parts) -> Verdict:
    shown = [difference_row(s, done, f"small, {attack}", PAIRS[attack.removeprefix("authors-")]) for attack in GRADIENT]
    same = [
        _low(found) > -0.05
        for found in (difference(s, done, f"small, {a}", PAIRS[a.removeprefix("authors-")]) for a in GRADIENT)
    ]
    answer: Answer = "holds" if all(same) else "depends" if any(same) else "does not hold"
    on = "the attack" if answer == "depends" else ""
    values = ", ".join(f"{WRITTEN[norm]} {base(s, done, PAIRS[norm]).value:.3f}" for norm in NORMS)
    return Verdict(
        "attacks",
        answer,
        shown,
        on,
        f"Accuracies with perturbations along q: {values}; attacks are confined to the range of the data, and "
        "those on L0 may move their values further than the perturbation along q does",
    )


def _low_dimension(s: ArtificialSettings, done: Parts) -> Verdict:
    dims = list(s.sweep("d"))
    low, high = dims[0], dims[-1]
    beyond = [_low(sweep(s, done, "d", low, norm)) > _high(sweep(s, done, "d", low, "none")) for norm in NORMS]
    less = [_high(sweep(s, done, "d", low, norm)) < _low(sweep(s, done, "d", high, norm)) for norm in NORMS]
    fresh = any(_low(sweep(s, done, "d", low, norm, "fresh")) > 0.5 for norm in NORMS)
    answer: Answer = "does not hold" if all(beyond) else "depends" if any(beyond) or fresh else "holds"
    on = "the norm" if any(beyond) else "where it is asked: at the natural samples, or at fresh points"
    shown = [sweep_row(s, done, "d", low, norm) for norm in (*NORMS, "none")]
    shown += [sweep_row(s, done, "d", low, "l2", "fresh")]
    shown += [sweep_row(s, done, "d", value, "l2") for value in dims[1:]]
    which = [WRITTEN[norm] for norm, above in zip(NORMS, beyond, strict=True) if above]
    return Verdict(
        "low-dimension",
        answer,
        shown,
        on if answer == "depends" else "",
        f"At d {low:g}, a tenth of N, above pure noise in {', '.join(which) or 'no norm'}; "
        f"less than at d {high:g} in {sum(less)} of {len(less)} norms",
    )
