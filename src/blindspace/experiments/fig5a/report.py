"""Figure 5a: rows, claims and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..common.intervals import of_share
from ..common.magnitudes import Measured
from ..common.models import NAMED
from ..common.pictures import Line, new_figure, plain, plot, save
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import CONTROLS, DIMENSIONS, PLACES, Case, Fig5a, Place, cases


@dataclass(frozen=True)
class Found(Measured):
    """A finished line; ``case`` says which."""

    case: Case

    @property
    def precision(self) -> str:
        """The precision the line is drawn in: exact where theory makes an exact claim, otherwise the model's own."""
        return "exact" if self.case.flat else "own"

    def clean(self, precision: str) -> Tensor:
        """Labels without a perturbation."""
        return self.kept.arrays[f"clean/{precision}"]

    def moved(self, kind: str) -> int:
        """Number of images whose label changes at any magnitude."""
        precision = "exact" if kind.endswith("/exact") else "own"
        return int((self.reading(kind).labels != self.clean(precision)).any(0).sum())

    @property
    def tells(self) -> bool:
        """Whether every control changes a label; otherwise a constant accuracy would mean nothing."""
        return all(self.moved(kind) > 0 for kind in CONTROLS)

    def fallen(self, kind: str) -> bool:
        """Whether the accuracy under the largest perturbation is below the unperturbed one, with disjoint intervals."""
        after, before = self.right(kind)[-1], self.unperturbed("clean/own")
        return self.interval(after)[1] < self.interval(before)[0]


def _all(s: Fig5a, done: Parts) -> list[Found]:
    return [Found(done[case.part], case) for case in cases(s)]


def rows(s: Fig5a, done: Parts) -> list[Row]:
    """Line by line: the dimension, the change of accuracy at each magnitude, exactness, the controls."""
    return [row for found in _all(s, done) for row in (*_line(s, found), *_exactness(s, found), *_controls(s, found))]


def _line(s: Fig5a, found: Found) -> list[Row]:
    case, n, before = found.case, found.count, found.unperturbed(f"clean/{found.precision}")
    formula = DIMENSIONS["images" if case.place == "images" else case.architecture] if case.place != "both" else None
    right = found.right(f"harmless/{found.precision}")
    made = [
        Row(case.name, "dimension of the harmless subspace", found.kept.values["dim"], formula, form=".0f"),
        Row(case.name, "accuracy, unperturbed", before / n, interval=found.interval(before), form=".1%"),
    ]
    reason = "" if case.flat else "not in the paper, which removes the skip connection; δ reaches the output through it"
    for m, count in zip(s.magnitudes, right, strict=True):
        change, paper = (count - before) / n, 0.0 if case.flat and case.place != "both" else None
        made.append(Row(f"{case.name}, α = {m}", "change in accuracy", change, paper, reason=reason, form=".2%"))
        reason = ""
    return made


def _exactness(s: Fig5a, found: Found) -> list[Row]:
    name, n = found.case.name, found.count
    made = [Row(name, "‖Aδ‖ / (‖A‖‖δ‖), largest", float(found.kept.arrays["residual"].max()), form=".1e")]
    for precision, words in (("exact", "float64"), ("own", "the model's own float32")):
        if precision == "exact" and not found.case.flat:
            continue
        for kind, what in (("harmless", ""), ("one ulp", ", one ulp of the perturbed input instead")):
            moved = found.moved(f"{kind}/{precision}")
            largest = float(found.reading(f"{kind}/{precision}").largest[-1].max())
            share = f"images read differently at any magnitude, {words}{what}"
            at = f"largest change of an output at α = {s.magnitudes[-1]}, {words}{what}"
            control = kind == "one ulp"
            where = found.reading(f"{kind}/{precision}").changed(found.clean(precision)) if moved else []
            at_each = "" if not moved else "how many at each α: " + ", ".join(map(str, where))
            made.append(Row(name, share, moved / n, None, found.interval(moved), control, at_each, ".2%"))
            made.append(Row(name, at, largest, control=control, form=".1e"))
    outside = found.kept.arrays["outside"].mean(1)
    what = "pixels outside [0, 1]" if found.case.place == "images" else "features below 0, which no ReLU writes"
    for index in (0, -1):
        made.append(Row(name, f"share of {what}, α = {s.magnitudes[index]}", float(outside[index]), form=".1%"))
    return made


def _controls(s: Fig5a, found: Found) -> list[Row]:
    made = []
    for kind in CONTROLS:
        right, n = found.right(kind), found.count
        every = f"α = {s.magnitudes[0]} … {s.magnitudes[-1]}: " + ", ".join(f"{count / n:.1%}" for count in right)
        case = f"{found.case.name}, {kind}, α = {s.magnitudes[-1]}"
        made.append(Row(case, "accuracy", right[-1] / n, None, found.interval(right[-1]), True, every, ".1%"))
    return made


def claims(s: Fig5a, done: Parts) -> list[Claim]:
    """The accuracy is constant to the last image; controls and skip connections show that this is not trivial."""
    every = _all(s, done)
    made = [
        _flat(s, place, [found for found in every if found.case.place == place]) for place in PLACES if place != "kept"
    ]
    return [*(claim for claim in made if claim), _own(every), _fall(s, every), *_skip(s, every)]


def _flat(s: Fig5a, place: Place, lines: list[Found]) -> Claim | None:
    if not lines:
        return None
    changed = sum(sum(found.reading("harmless/exact").changed(found.clean("exact"))) for found in lines)
    of = sum(found.count for found in lines) * len(s.magnitudes)
    which = ", ".join(f"{NAMED[found.case.architecture]} ({found.kept.values['dim']} dimensions)" for found in lines)
    certified = all(found.kept.values["kind"] == "exact" for found in lines)
    return Claim(
        f"{PLACES[place]}: flat at all {len(s.magnitudes)} magnitudes to α = {s.magnitudes[-1]}; {changed} of {of} "
        f"predictions change in float64, {which}, dimensions certified{'' if certified else ' only in part'}",
        None if changed == 0 and not all(found.tells for found in lines) else changed == 0 and certified,
    )


def _own(every: list[Found]) -> Claim:
    """In float32 the subspace is represented up to rounding only; the yardstick is unrelated rounding."""
    lines = [found for found in every if found.case.flat]
    of = sum(found.count for found in lines)
    ours, floor = (sum(found.moved(f"{kind}/own") for found in lines) for kind in ("harmless", "one ulp"))
    return Claim(
        f"in the model's own float32 {ours} of {of} images are read differently at any magnitude; a change of one ulp "
        f"of the perturbed input does so to {floor}",
        of_share(ours, of)[0] <= of_share(floor, of)[1],
    )


def _fall(s: Fig5a, every: list[Found]) -> Claim:
    worst = [max(found.right(kind)[-1] / found.count for found in every) for kind in CONTROLS]
    words = ", ".join(f"{kind} {share:.1%}" for kind, share in zip(CONTROLS, worst, strict=True))
    fallen = all(found.fallen(kind) for found in every for kind in CONTROLS)
    return Claim(
        f"controls of the same norm lower the accuracy of every network at α = {s.magnitudes[-1]}, at best to: {words}",
        None if s.preset == "smoke" else fallen,
    )


def _skip(s: Fig5a, every: list[Found]) -> list[Claim]:
    made = []
    for found in every:
        if found.case.flat:
            continue
        n, left = found.count, found.kept.values["left"]
        after = found.right("harmless/own")[-1] / n
        rest = "" if left is None else f"; {left} of the {found.kept.values['dim']} dimensions are harmless for both"
        made.append(
            Claim(
                f"{NAMED[found.case.architecture]} with its skip connection: what the layer does not see bypasses it "
                f"and takes accuracy from {found.unperturbed('clean/own') / n:.1%} to {after:.1%}{rest}",
                None if s.preset == "smoke" else found.fallen("harmless/own") and not found.kept.values["alone"],
            )
        )
    return made


def draw(s: Fig5a, done: Parts, folder: Path) -> None:
    """Accuracy against magnitude, one chart per network and place, each with its controls."""
    every = _all(s, done)
    figure = new_figure(15, 3.6 * len(s.architectures))
    grid = figure.subplots(len(s.architectures), 3, squeeze=False)
    figure.subplots_adjust(wspace=0.75, hspace=0.45)
    for i, architecture in enumerate(s.architectures):
        for axes, place in zip(grid[i], _CHARTS, strict=True):
            plain(axes, f"{NAMED[architecture]}, {PLACES[place]}", "magnitude α", "accuracy")
            axes.set_xscale("log", base=2)
            axes.set_xticks(s.magnitudes, [str(m) for m in s.magnitudes])
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            here = [f for f in every if f.case.architecture == architecture]
            (main,) = (found for found in here if found.case.place == place)
            lines = [_drawn(s, main, f"harmless/{main.precision}", _WORDS[place], "own")]
            if place == "kept":
                both = [found for found in here if found.case.place == "both"]
                lines += [_drawn(s, found, "harmless/exact", _WORDS["both"], "second") for found in both]
            colours = ("shuffled", "control", "gaussian")
            lines += [_drawn(s, main, kind, kind, colour) for kind, colour in zip(CONTROLS, colours, strict=True)]
            plot(axes, lines, apart=0.07)
    save(figure, folder / "fig5a.png")


_CHARTS: tuple[Place, ...] = ("images", "removed", "kept")
_WORDS: dict[Place, str] = {
    "images": "harmless",
    "removed": "harmless",
    "kept": "harmless for the layer",
    "both": "harmless for both readers",
}


def _drawn(s: Fig5a, found: Found, kind: str, label: str, colour: str) -> Line:
    right, n = found.right(kind), found.count
    low, high = zip(*(found.interval(count) for count in right), strict=True)
    return Line(label, s.magnitudes, [count / n for count in right], colour, kind in CONTROLS, (low, high))
