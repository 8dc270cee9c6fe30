"""Figure 5b: rows, claims and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path

from torch import Tensor

from ..common.intervals import of_mean
from ..common.magnitudes import Measured
from ..common.models import NAMED
from ..common.pictures import INK, Line, new_figure, pixels, plain, plot, save, signed
from ..experiment import Claim, Row
from ..parts import Parts
from .settings import COMPARED, CONTROLS, EQUAL, GAUSSIAN, KINDS, LEAST, MOST, RANDOM, RIM, SHUFFLED, SIGMA, UNIT, Fig5b

TABLE_1 = {LEAST: 0.0003, UNIT: 0.0003, GAUSSIAN: 0.1226, SIGMA: 0.1226}
"""RMSE of a ResNet-50's outputs at ε in table 1, for the kinds that may be the paper's."""


@dataclass(frozen=True)
class Found(Measured):
    """A finished network; ``architecture`` is its name in the settings."""

    architecture: str

    @property
    def name(self) -> str:
        """Name in words."""
        return NAMED[self.architecture]

    def rmse(self, kind: str) -> Tensor:
        """Mean over the images at each magnitude, ``(M,)``."""
        return self.reading(kind).rmse.mean(1)

    def unhurt(self, s: Fig5b, kind: str) -> int:
        """The largest magnitude up to which the accuracy stays in the interval of the unperturbed one; 0 if none."""
        low = self.interval(self.unperturbed())[0]
        below = [count / self.count < low for count in self.right(kind)]
        return ([0, *s.magnitudes][below.index(True)]) if any(below) else s.magnitudes[-1]


def _all(s: Fig5b, done: Parts) -> list[Found]:
    return [Found(done[architecture], architecture) for architecture in s.architectures]


def rows(s: Fig5b, done: Parts) -> list[Row]:
    """Network by network: the direction, accuracies, changes of outputs."""
    return [row for found in _all(s, done) for row in (*_direction(found), *_accuracies(s, found), *_outputs(s, found))]


def _direction(found: Found) -> list[Row]:
    values, name, n = found.kept.values, found.name, found.count
    return [
        Row(name, "σ_min of the affine front", values["sigma_min"]),
        Row(name, "σ_max", values["sigma_max"]),
        Row(name, "σ_min / σ_max", values["sigma_min"] / values["sigma_max"], form=".1e"),
        Row(name, "‖AᵀAv − σ²v‖ / ‖A‖² of the least harmful direction", values["residual"], form=".1e"),
        Row(name, "distance of σ_min from a singular value, at most", values["bound"], form=".1e"),
        Row(name, "‖v‖∞ of the least harmful unit vector", values["peak"]),
        Row(name, f"share of its energy within {RIM} pixels of the border", values["rim"], form=".1%"),
        Row(
            name,
            "accuracy, unperturbed",
            found.unperturbed() / n,
            None,
            found.interval(found.unperturbed()),
            form=".1%",
        ),
    ]


def _accuracies(s: Fig5b, found: Found) -> list[Row]:
    """Each magnitude of the compared kinds, the largest magnitude of the others."""
    made = []
    for kind in KINDS:
        right, n = found.right(kind), found.count
        each = "" if kind in COMPARED else _each(s, [f"{count / n:.1%}" for count in right])
        for m, count in list(zip(s.magnitudes, right, strict=True))[0 if kind in COMPARED else -1 :]:
            case = f"{found.name}, {kind}, α = {m}"
            interval = found.interval(count)
            made.append(Row(case, "accuracy", count / n, None, interval, kind in CONTROLS, each, ".1%"))
    return made


def _outputs(s: Fig5b, found: Found) -> list[Row]:
    made = []
    for kind in KINDS:
        values, case = found.reading(kind).rmse[0], f"{found.name}, {kind}, α = {s.magnitudes[0]}"
        theirs = kind in TABLE_1 and found.architecture == "resnet50"
        paper = TABLE_1[kind] if theirs else None
        each = _each(s, [f"{value:.2g}" for value in found.rmse(kind).tolist()])
        reason = f"{_nearer(found, kind)}; {each}" if theirs else each
        mean, interval = float(values.mean()), of_mean(values)
        made.append(Row(case, "RMSE of outputs", mean, paper, interval, kind in CONTROLS, reason))
    for precision in ("float64", "float32"):
        floor = found.reading(f"one ulp, {precision}").rmse[0]
        name = f"{found.name}, rounding floor, one ulp of {precision} in the input"
        made.append(Row(name, "RMSE of outputs", float(floor.mean()), None, of_mean(floor), True))
    return made


def _each(s: Fig5b, values: list[str]) -> str:
    return f"α = {s.magnitudes[0]} … {s.magnitudes[-1]}: {', '.join(values)}"


def _nearer(found: Found, kind: str) -> str:
    """Which of two ways to scale comes nearer to table 1, which does not say how it scales."""
    other = {LEAST: UNIT, UNIT: LEAST, GAUSSIAN: SIGMA, SIGMA: GAUSSIAN}[kind]
    off, others = (abs(log(float(found.rmse(each)[0]) / TABLE_1[each])) for each in (kind, other))
    return (
        f"a network of other training; how the paper scales is not said, and {kind if off < others else other} comes "
        "nearer to its table 1"
    )


def claims(s: Fig5b, done: Parts) -> list[Claim]:
    """The least harmful perturbation is far weaker than noise (the paper's claim), and no other direction is weaker."""
    every = _all(s, done)
    made = [_weaker(s, found, noise) for found in every for noise in (GAUSSIAN, EQUAL)]
    return [*made, *(_ordered(s, found) for found in every)]


def _weaker(s: Fig5b, found: Found, noise: str) -> Claim:
    pairs = list(zip(found.right(LEAST), found.right(noise), strict=True))
    above = sum(found.interval(ours)[0] > found.interval(theirs)[1] for ours, theirs in pairs)
    below = sum(found.interval(ours)[1] < found.interval(theirs)[0] for ours, theirs in pairs)
    ratio = found.rmse(noise) / found.rmse(LEAST)
    size = "‖δ‖∞" if noise == GAUSSIAN else "‖δ‖₂"
    return Claim(
        f"{found.name}, equal {size}: the least harmful perturbation leaves the accuracy as it is up to α = "
        f"{found.unhurt(s, LEAST)}, Gaussian noise up to {found.unhurt(s, noise)}; more accurate, intervals apart, at "
        f"{above} of {len(pairs)} magnitudes, less at {below}; outputs move {ratio.min():.2g} to {ratio.max():.2g} "
        "times less",
        None if s.preset == "smoke" else above > 0 and below == 0 and float(ratio.min()) > 1,
    )


def _ordered(s: Fig5b, found: Found) -> Claim:
    """At the smallest magnitude, where a network is nearly linear, outputs follow the singular values."""
    least, most = float(found.rmse(LEAST)[0]), float(found.rmse(MOST)[0])
    between = {kind: float(found.rmse(kind)[0]) for kind in (EQUAL, SHUFFLED, RANDOM)}
    words = ", ".join(f"{kind} {value:.2g}" for kind, value in between.items())
    return Claim(
        f"{found.name}, RMSE of outputs at α = {s.magnitudes[0]} and equal ‖δ‖₂: least harmful {least:.2g}; {words}; "
        f"most harmful {most:.2g}",
        None if s.preset == "smoke" else all(least < value < most for value in between.values()),
    )


def draw(s: Fig5b, done: Parts, folder: Path) -> None:
    """Accuracy and RMSE against the magnitude, and pictures of the least and the most harmful direction."""
    every = _all(s, done)
    figure = new_figure(15.5, 3.7 * len(every))
    grid = figure.subplots(len(every), 4, squeeze=False, gridspec_kw={"width_ratios": (3, 3, 1.3, 1.3)})
    figure.subplots_adjust(wspace=1.05, hspace=0.45)
    drawn = {LEAST: "own", GAUSSIAN: "gaussian", EQUAL: "paper", SHUFFLED: "shuffled", RANDOM: "control", MOST: "third"}
    for row, found in zip(grid, every, strict=True):
        for axes, what in zip(row, ("accuracy", "RMSE of outputs"), strict=False):
            plain(axes, f"{found.name}: {what}", "magnitude α, multiples of 8/255")
            axes.set_xscale("log", base=2)
            axes.set_xticks(s.magnitudes[::2], [str(m) for m in s.magnitudes[::2]])
            if what == "accuracy":
                axes.set_ylim(0, 1)
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
            else:
                axes.set_yscale("log")
            plot(axes, [_line(s, found, kind, colour, what) for kind, colour in drawn.items()], apart=0.07)
        for axes, which in zip(row[2:], ("least", "most"), strict=True):
            axes.imshow(pixels(signed(found.kept.arrays[which])).numpy(), interpolation="nearest")
            axes.set_title(f"{which} harmful", size=9.5, color=INK, pad=6)
            axes.axis("off")
    save(figure, folder / "fig5b.png")


def _line(s: Fig5b, found: Found, kind: str, colour: str, what: str) -> Line:
    if what != "accuracy":
        return Line(kind, s.magnitudes, found.rmse(kind).tolist(), colour, kind in CONTROLS)
    right = found.right(kind)
    low, high = zip(*(found.interval(count) for count in right), strict=True)
    return Line(kind, s.magnitudes, [count / found.count for count in right], colour, kind in CONTROLS, (low, high))
