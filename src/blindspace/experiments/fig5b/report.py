"""Figure 5b: accuracy against the magnitude of the least harmful perturbation, Gaussian noise beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import log
from pathlib import Path

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from ...maps import LinearMap
from ...networks import front
from ...perturbations import least_harmful
from ...subspaces import norms
from ..common.controls import gaussian, in_random_subspace, shuffled
from ..common.intervals import of_mean
from ..common.magnitudes import Measured, Readings, labels_of, read, ulp
from ..common.models import NAMED, Preset, Report, images, trained
from ..common.pictures import INK, Line, new_figure, pixels, plain, plot, save, signed
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, about

EPSILON, RIM = 8 / 255, 4
LEAST, GAUSSIAN = "least harmful", "Gaussian"
EQUAL = "Gaussian, equal L2"
UNIT, SIGMA = "least harmful, ‖δ‖₂ = αε", "Gaussian, σ = αε"
SHUFFLED, RANDOM, MOST = "shuffled", "random direction", "most harmful"
COMPARED, CONTROLS = (LEAST, GAUSSIAN, EQUAL), (SHUFFLED, RANDOM, MOST)
IN_FLOAT64 = (LEAST, UNIT)
"""They move outputs so little that float32 rounds it away; the others are read in the model's own precision."""

KINDS = (LEAST, GAUSSIAN, EQUAL, UNIT, SIGMA, *CONTROLS)
"""Least harmful and Gaussian with ‖δ‖∞ = αε; with the least harmful one's L2 norm then, Gaussian and the controls; as
lemma 2 and section 3.3 read to the letter, a unit vector and N(0, 1) at each pixel, both times αε."""

TABLE_1 = {LEAST: 0.0003, UNIT: 0.0003, GAUSSIAN: 0.1226, SIGMA: 0.1226}
"""RMSE of a ResNet-50's outputs at ε, by the kinds that may be the paper's."""


@dataclass(frozen=True)
class Fig5b(Settings):
    """Settings of figure 5b.

    Attributes:
        architectures: of the networks, as they are.
        count: test images.
        batch: images at a time.
        magnitudes: α, multiples of ε = 8/255.
    """

    architectures: tuple[str, ...] = ("resnet18", "resnet50")
    count: int = 1000
    batch: int = 100
    magnitudes: tuple[int, ...] = tuple(2**k for k in range(9))


def settings(preset: Preset, seed: int) -> Fig5b:
    """Of a preset."""
    if preset == "smoke":
        return Fig5b(preset, seed, ("resnet18",), 8, 8, (1, 16, 256))
    return Fig5b(preset, seed, count=500 if preset == "cpu" else 10_000)


def parts(s: Fig5b) -> list[Part]:
    """One network each."""
    return [Part(architecture, partial(_measure, s, architecture)) for architecture in s.architectures]


def most_harmful(operator: LinearMap) -> tuple[Tensor, float]:
    """The direction a layer shows most, a unit vector ``(*in_shape)``, and ‖A v‖ = σ_max; the opposite of lemma 2."""
    a = operator.to_scipy(limit=None)
    gram = scipy.sparse.linalg.LinearOperator(
        (operator.in_dim, operator.in_dim), matvec=lambda v: a.T @ (a @ v), dtype=np.float64
    )
    start = np.random.default_rng(0).standard_normal(operator.in_dim)
    _, vectors = scipy.sparse.linalg.eigsh(gram, k=1, v0=start)
    direction = torch.from_numpy(vectors[:, 0].copy()).view(operator.in_shape)
    return direction, float(operator.forward(direction[None]).norm())


def _measure(s: Fig5b, architecture: str, report: Report) -> Kept:
    """One network under every kind of perturbation, in its own precision."""
    network = trained(architecture, s.preset, report)
    operator = front(network)
    least = least_harmful(operator)
    unit = least.directions
    most, sigma_max = most_harmful(operator)
    peak = float(unit.abs().max())
    chosen = images("cifar10", s.preset, s.count)
    x, y = chosen.tensor(torch.float64), chosen.targets()
    draw = s.generator(architecture)
    found = Readings()
    for start in range(0, len(x), s.batch):
        report(start, len(x), "images")
        some = x[start : start + s.batch]
        noise = torch.randn(some.shape, generator=draw, dtype=some.dtype)
        delta = (EPSILON * unit / peak).expand(some.shape).clone()
        kinds = {
            LEAST: delta,
            GAUSSIAN: EPSILON * noise / norms(noise, "linf"),
            EQUAL: gaussian(delta, draw),
            UNIT: (EPSILON * unit).expand(some.shape),
            SIGMA: EPSILON * noise,
            SHUFFLED: shuffled(delta, draw),
            RANDOM: in_random_subspace(delta, 1, draw),
            MOST: norms(delta, "l2") * most,
        }
        clean, exact = network.outputs(some), network.outputs(some, torch.float64)
        found.keep("clean", labels_of(clean))
        found.keep("targets", y[start : start + s.batch])
        for kind, value in kinds.items():
            against = exact if kind in IN_FLOAT64 else clean
            found.add(kind, read(network, (some + m * value for m in s.magnitudes), against))
        for against in (clean, exact):
            rounded = some.to(against.dtype)
            name = str(against.dtype).removeprefix("torch.")
            found.add(f"one ulp, {name}", read(network, [rounded + ulp(rounded)], against))
    values = {
        "network": about(network),
        "sigma_min": float(least.sigma[0]),
        "sigma_max": sigma_max,
        "residual": float(least.residual[0]),
        "bound": float(least.bound[0]),
        "peak": peak,
        "rim": 1 - float(unit[..., RIM:-RIM, RIM:-RIM].square().sum()),
    }
    return Kept(values, {**found.arrays(), "least": unit[0], "most": most})


@dataclass(frozen=True)
class Found(Measured):
    """A finished network.

    Attributes:
        architecture: its name in the settings.
    """

    architecture: str

    @property
    def name(self) -> str:
        """In words."""
        return NAMED[self.architecture]

    def rmse(self, kind: str) -> Tensor:
        """The mean over the images at each magnitude, ``(M,)``."""
        return self.reading(kind).rmse.mean(1)

    def unhurt(self, s: Fig5b, kind: str) -> int:
        """The largest magnitude up to which the accuracy stays in the unperturbed one's interval; 0 if none."""
        low = self.interval(self.unperturbed())[0]
        below = [count / self.count < low for count in self.right(kind)]
        return ([0, *s.magnitudes][below.index(True)]) if any(below) else s.magnitudes[-1]


def _all(s: Fig5b, done: Parts) -> list[Found]:
    return [Found(done[architecture], architecture) for architecture in s.architectures]


def rows(s: Fig5b, done: Parts) -> list[Row]:
    """Network by network: the direction, accuracies, how far outputs move."""
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
    """Each magnitude of what is compared, the largest of the others."""
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
    """Which of both ways to scale comes nearer to table 1, which does not say how it scales."""
    other = {LEAST: UNIT, UNIT: LEAST, GAUSSIAN: SIGMA, SIGMA: GAUSSIAN}[kind]
    off, others = (abs(log(float(found.rmse(each)[0]) / TABLE_1[each])) for each in (kind, other))
    return (
        f"a network of other training; how the paper scales is not said, and {kind if off < others else other} comes "
        "nearer to its table 1"
    )


def claims(s: Fig5b, done: Parts) -> list[Claim]:
    """The paper's: the least harmful perturbation is far weaker than noise; and that no other direction is."""
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
    """Accuracy and RMSE against the magnitude, and what the least and the most harmful direction look like."""
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


EXPERIMENT: Experiment[Fig5b] = Experiment(
    name="fig5b",
    title="accuracy against the magnitude of the least harmful perturbation",
    source="figure 5b, section 3.3, lemma 2",
    question=(
        "What can a network notice least where its first layer has no harmless subspace? The least harmful "
        "perturbation, the right singular vector of the smallest singular value, is added to CIFAR-10 test images "
        "with growing magnitude, beside Gaussian noise of equal L∞ and of equal L2 norm; perturbed images leave "
        "[0, 1]. The paper's figure has no printed numbers."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
