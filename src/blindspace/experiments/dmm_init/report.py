"""Init surgery: rows, claims, verdicts and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor

from ..common.intervals import of_mean
from ..common.pictures import RULE, Line, new_figure, plain, plot, save
from ..experiment import Answer, Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import CASES, RANGES, WORDS, DmmInit, case_name

TOLERANCE = 0.15
"""How far the root mean square of the off-data gradient may be from theory."""

ROUNDING = 1e-12
"""Below this, an off-data component in float64 is rounding; figures of random subspaces come from matrix products."""


@dataclass(frozen=True)
class Found:
    """A finished part.

    Attributes:
        name: In words.
        kept: The part.
        scales: Factors of the initial off-data component.
        frozen: Whether theory says that training does not change that component: the data lie in the subspace, and
            updates are combinations of gradients.
        exact: Whether it is then 0 in floating point too, because the data are exactly 0 off the subspace.
    """

    name: str
    kept: Kept
    scales: tuple[float, ...]
    frozen: bool
    exact: bool

    def at(self, quantity: str, scale: float) -> Tensor:
        """A quantity at a scale: ``(seeds, points)``, or ``(seeds,)`` where it belongs to networks."""
        return self.kept.arrays[quantity][self.scales.index(scale)]

    def rms(self, quantity: str, scale: float) -> Tensor:
        """Its root mean square over points, per seed."""
        return self.at(quantity, scale).square().mean(-1).sqrt()

    def over_theory(self, scale: float) -> Tensor:
        """Off-data gradient over theory at scale 1, per seed, as root mean squares over points."""
        return self.rms("off", scale) / self.rms("theory", scale)

    def angle(self, scale: float) -> Tensor:
        """Angle between the gradient and the data's subspace in degrees, median over points, per seed."""
        return torch.rad2deg(torch.atan2(self.at("off", scale), self.at("on", scale))).median(-1).values

    def distance(self, kind: str, scale: float) -> Tensor:
        """Median distance to the boundary along the gradient or its part, per seed; infinite beyond reach."""
        return self.at(f"distance {kind}", scale).median(-1).values


def found(s: DmmInit, done: Parts) -> list[Found]:
    """All parts, those on subspaces first."""
    made = [
        Found(
            f"{WORDS[where]}, {'gradient descent' if optimiser == 'descent' else 'Adam'}"
            + (", readout trained" if readout else ""),
            done[case_name(where, optimiser, readout)],
            s.scales,
            where == "pixels" or optimiser == "descent",
            where == "pixels",
        )
        for where, optimiser, readout in CASES
    ]
    names = {"[0, 1]": "mnist", "[-1, 1]": "mnist-centred"}
    for unit in RANGES:
        kept = done[names[unit]]
        name = f"MNIST in {unit}, {kept.values['constant']} constant pixels"
        made.append(Found(name, kept, s.scales, unit == "[0, 1]", unit == "[0, 1]"))
    return made


def rows(s: DmmInit, done: Parts) -> list[Row]:
    """Per case: what moved; then, per scale, the gradient off the data against theory, angle and distances."""
    return [row for each in found(s, done) for row in _rows(each)]


def _rows(each: Found) -> list[Row]:
    moved, off = (max(float(each.at(what, scale).max()) for scale in each.scales) for what in ("moved", "moved off"))
    made = [
        Row(each.name, "largest change of a first-layer weight", moved, form=".2g"),
        Row(each.name, "largest change of its off-data component", off, control=not each.frozen, form=".2g"),
    ]
    for scale in each.scales:
        case = f"{each.name}, off-data init × {scale:g}"
        ratio = each.over_theory(scale)
        made += [
            _mean(case, "off-data gradient, rms", each.rms("off", scale)),
            _mean(case, "off-data gradient over theory at × 1", ratio),
            _mean(case, "angle of the gradient to the data, degrees", each.angle(scale), ".1f"),
            _mean(case, "accuracy", each.at("accuracy", scale), ".1%"),
            *(_mean(case, f"distance to the boundary, {kind}", each.distance(kind, scale)) for kind in KINDS),
        ]
    return made


KINDS = ("plain", "on", "off")


def _mean(case: str, quantity: str, values: Tensor, form: str = ".3g") -> Row:
    mean = float(values.mean())
    return Row(case, quantity, mean, interval=of_mean(values) if isfinite(mean) else None, form=form)


def claims(s: DmmInit, done: Parts) -> list[Claim]:
    """Freezing, theory, scaling, and where they end."""
    every = found(s, done)
    subspaces, (centred,) = [each for each in every if each.name[0] == "r"], [e for e in every if not e.frozen][-1:]
    return [
        _freezing(every),
        _rounding(every),
        _theory(s, every),
        _scaling(s, every),
        _moves(subspaces),
        _centred(centred),
    ]


def _freezing(every: list[Found]) -> Claim:
    exact = [each for each in every if each.exact]
    largest = max(float(each.kept.arrays["moved off"].max()) for each in exact)
    words = "; ".join(each.name for each in exact)
    return Claim(
        f"off-data weights change by exactly 0 where data are exactly 0 off it ({words}): {largest}", largest == 0
    )


def _rounding(every: list[Found]) -> Claim:
    (rotated,) = (each for each in every if each.frozen and not each.exact)
    share = float((rotated.kept.arrays["moved off"] / rotated.kept.arrays["moved"]).max())
    return Claim(
        f"{rotated.name}: they change by {share:.1e} of the largest change, which is rounding of matrix products in "
        "float64",
        share < ROUNDING,
    )


def _theory(s: DmmInit, every: list[Found]) -> Claim:
    ratios = {each.name: float(each.over_theory(1.0).mean()) for each in every if each.frozen}
    words = "; ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items())
    holds = all(abs(ratio - 1) <= TOLERANCE for ratio in ratios.values())
    return Claim(
        f"the off-data gradient is √(kℓ/(mn)), or ‖a‖σ√ℓ for other readouts, within {TOLERANCE:.0%}; measured over "
        f"theory: {words}",
        None if s.preset == "smoke" else holds,
    )


def _scaling(s: DmmInit, every: list[Found]) -> Claim:
    """Frozen weights: scaling the off-data init by s scales the off-data gradient by s, whatever training did."""
    frozen = [each for each in every if each.frozen]
    worst = max(
        float((each.at("off", scale) / each.at("off", 1.0) - scale).abs().max())
        for each in frozen
        for scale in s.scales
    )
    angles = frozen[0]
    words = ", ".join(f"{float(angles.angle(scale).mean()):.0f}° at × {scale:g}" for scale in s.scales)
    return Claim(
        f"scaled by s, the initial off-data component scales the off-data gradient by s at every point, to "
        f"{worst:.0e}, and turns the gradient from the data by {words} ({angles.name})",
        worst < (1e-2 if s.preset == "smoke" else 1e-3),
    )


def _moves(subspaces: list[Found]) -> Claim:
    (adam,) = (each for each in subspaces if not each.frozen)
    ratio = float((adam.kept.arrays["moved off"] / adam.kept.arrays["moved"]).amin())
    left = float(adam.over_theory(0.0).mean())
    return Claim(
        f"freezing is a property of gradient descent, not of training: Adam scales each pixel by itself and so leaves "
        f"the span of data that are not aligned with pixels (off-data weights move by at least {ratio:.2f} of the "
        f"largest change; the off-data gradient after projecting the init out is {left:.2f} of theory instead of 0)",
        ratio > 1e-3,
    )


def _centred(centred: Found) -> Claim:
    moved = float(centred.kept.arrays["moved off"].amin())
    return Claim(
        f"{centred.name}: they are −1 there and act as a bias, so their weights move, in every network by at least "
        f"{moved:.2g}",
        moved > 0,
    )


def verdicts(s: DmmInit, done: Parts) -> list[Verdict]:
    """Whether dimples are what initialisation left, and whether without them adversarial examples are far."""
    every = found(s, done)
    table = rows(s, done)
    main, adam = every[0], next(each for each in every if not each.frozen)
    decided = s.preset != "smoke"
    ratio = "off-data gradient over theory at × 1"
    both: list[Row] = [row for row in table if row.quantity == ratio and row.case.startswith((main.name, adam.name))]
    shown = [row for row in both if row.case.endswith(("× 0", "× 1"))]
    left = float(adam.over_theory(0.0).mean())
    answer: Answer = "depends" if left > TOLERANCE else "holds"
    gains = [_gain(main, 1.0), _gain(main, 3.0), _gain(every[-2], 1.0)]
    far = [row.interval is not None and row.interval[0] > FAR for row in gains]
    small: Answer = "holds" if all(far) else "depends" if any(far) else "does not hold"
    return [
        Verdict(
            "initialisation",
            answer if decided else None,
            shown,
            on="the optimiser" if decided and answer == "depends" else "",
            because="With gradient descent the off-data gradient is that of the initial weights and 0 without them; "
            "Adam makes one of its own.",
        ),
        Verdict(
            "small-norms",
            small if decided else None,
            gains,
            on="the size of the initial weights off the data" if decided and small == "depends" else "",
            because=f"Far means {FAR:g} times as far. The boundary along the data stays, and bounds the gain.",
        ),
    ]


FAR = 2.0
"""From this factor on, the boundary counts as farther without off-data derivatives."""


def _gain(each: Found, scale: float) -> Row:
    gain = each.distance("plain", 0.0) / each.distance("plain", scale)
    what = f"plain distance with the off-data init projected out over × {scale:g}"
    return Row(each.name, what, float(gain.mean()), interval=of_mean(gain), form=".3g")


def draw(s: DmmInit, done: Parts, folder: Path) -> None:
    """Angle and off-data gradient against the scale of the initial off-data component, and the distances."""
    figure = new_figure(13, 3.8)
    left, middle, right = figure.subplots(1, 3)
    figure.subplots_adjust(wspace=0.62)
    every = found(s, done)
    frozen, adam = every[0], next(each for each in every if not each.frozen)
    mnist = every[-2]
    places = range(len(s.scales))
    names = [f"{scale:g}" for scale in s.scales]
    shown = ((frozen, "gradient descent", "own"), (adam, "Adam", "gaussian"), (mnist, "MNIST, [0, 1]", "second"))
    plain(left, "dimples follow the initial weights", "off-data init ×", "angle of the gradient to the data")
    left.set_ylim(0, 1)
    left.set_yticks([0, 1 / 3, 2 / 3, 1], ["0°", "30°", "60°", "90°"])
    plot(left, [_line(label, [each.angle(x) / 90 for x in s.scales], colour) for each, label, colour in shown], 0.09)
    plain(middle, "measured over theory at × 1", "off-data init ×", "off-data gradient")
    lines = [_line(label, [each.over_theory(x) for x in s.scales], colour) for each, label, colour in shown]
    plot(middle, [*lines, Line("theory", list(places), list(s.scales), "paper", dashed=True)], 0.09)
    plain(right, "how far the boundary is", "off-data init ×", "median distance")
    far = [_line(kind, [frozen.distance(kind, x) for x in s.scales], colour) for kind, colour in COLOURS_OF.items()]
    right.axhline(0, color=RULE, linewidth=1)  # so that the axis begins at 0
    plot(right, [line for line in far if line.x], 0.09)
    for axes in (left, middle, right):
        axes.set_xticks(list(places), names)
    save(figure, folder / "dmm-init.png")


COLOURS_OF = {"plain": "own", "on": "second", "off": "gaussian"}
"""Colours of the distances by kind."""

_FARTHEST = 20.0
"""Distances above this are left out of the chart; the table has them."""


def _line(label: str, values: list[Tensor], colour: str) -> Line:
    """Means over seeds with their intervals, up to the farthest that is drawn."""
    kept = [(place, float(v.mean()), of_mean(v)) for place, v in enumerate(values) if float(v.mean()) < _FARTHEST]
    ends = [interval or (mean, mean) for _, mean, interval in kept]
    band = ([low for low, _ in ends], [high for _, high in ends])
    return Line(label, [place for place, *_ in kept], [mean for _, mean, _ in kept], colour, band=band)
