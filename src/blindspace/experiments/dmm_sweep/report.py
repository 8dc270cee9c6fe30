"""The sweep over dimensions: rows, claims, verdicts and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isinf, log, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..common.intervals import Estimate, bootstrap, ratio_of_medians
from ..common.pictures import Line, new_figure, plain, plot, save
from ..experiment import Claim, Row, Verdict
from ..parts import Kept, Parts
from .settings import FAMILIES, FIRST, LAST, RANDOM, VARYING, Sweep, part_name

NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
KINDS = {"mlp": "MLP", "convnet": "ConvNet", "resnet20": "ResNet-20"}

LAW = 0.10
"""Largest relative error at which the law of the gradient's share counts as obeyed."""


@dataclass(frozen=True)
class Curves:
    """What is known of one network."""

    dataset: str
    kind: str
    dims: tuple[int, ...]
    kept: Kept

    @property
    def name(self) -> str:
        """Data set and kind in words."""
        return f"{NAMES[self.dataset]} {KINDS[self.kind]}"

    @property
    def n(self) -> int:
        """Number of dimensions of an image."""
        return int(self.kept.values["n"])

    def get(self, k: int, family: str, what: str) -> Tensor:
        """A measurement, ``(draws, N)``."""
        return self.kept.arrays[f"{k}/{family}/{what}"]

    def ratio(self, k: int, family: str, way: str = "on") -> Estimate:
        """Median norm over the plain one."""
        return ratio_of_medians(self.get(k, family, way), self.kept.arrays["plain"])

    def against(self, k: int, family: str, other: str) -> Estimate:
        """Median norm in one subspace over that in another of equal dimension."""
        return ratio_of_medians(self.get(k, family, "on"), self.get(k, other, "on"))

    def law(self, k: int, family: str, way: str) -> Estimate:
        """How far the ratio of norms exceeds 1/√share (on) or 1/√(1 − share) (off), as a share of it."""

        def excess(medians: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
            confined, unconfined, share = medians
            error: NDArray[np.float64] = confined / unconfined * np.sqrt(share if way == "on" else 1 - share) - 1
            return error

        return bootstrap(excess, [self.get(k, family, way), self.kept.arrays["plain"], self.get(k, family, "share")])

    def crossing(self, family: str) -> float | None:
        """The k at which attacks in k dimensions cost as much as in the other n − k, by interpolation of logarithms.

        None if on(k) is below off(n − k) from the first k on, or above it at every k.
        """
        gaps = [(k, _log_ratio(self.ratio(k, family).value, self.ratio(k, family, "off").value)) for k in self.dims]
        for (k, gap), (larger, later) in pairwise(gaps):
            if gap > 0 >= later:
                share = 0.0 if isinf(gap) else gap / (gap - later)
                return exp(log(k) + share * (log(larger) - log(k)))
        return None


def _log_ratio(on: float, off: float) -> float:
    return log(on / off) if not isinf(on) else float("inf")


def curves(s: Sweep, done: Parts) -> list[Curves]:
    """All networks."""
    return [Curves(d, kind, s.dims(d), done[part_name(kind, d)]) for kind, d in s.networks]


def rows(s: Sweep, done: Parts) -> list[Row]:
    """Network by network: each family and dimension, and where on and off cost the same."""
    made = []
    for each in curves(s, done):
        for family in FAMILIES:
            made += [row for k in each.dims for row in _row(each, family, k)]
        for family in (FIRST, RANDOM):
            k = each.crossing(family)
            words = "" if k is not None else _side(each, family)
            made.append(Row(f"{each.name}, {family}", "k at which on(k) = off(n − k)", k, reason=words, form=".0f"))
    return made


def _side(each: Curves, family: str) -> str:
    k = each.dims[0]
    below = each.ratio(k, family).value <= each.ratio(k, family, "off").value
    return f"on(k) is below off(n − k) from k = {k} on" if below else "on(k) is above off(n − k) at every k measured"


def _row(each: Curves, family: str, k: int) -> list[Row]:
    control, name = family != FIRST, f"{each.name}, {family}, k = {k}"
    made = []
    for way, sign in (("on", "share"), ("off", "(1 − share)")):
        ratio, law = each.ratio(k, family, way), each.law(k, family, way)
        lost = each.get(k, family, way).isinf()
        words = f"{law.value:+.1%} from 1/√{sign}"
        if family == RANDOM and way == "on":
            words += f"; theory √(n/k) = {sqrt(each.n / k):.3f}"
        if bool(lost.any()):
            words += f"; {int(lost.sum())} of {lost.numel()} attacks fail"
        made.append(Row(name, f"{way} / plain", ratio.value, None, ratio.interval, control, words, ".3f"))
    return made


def claims(s: Sweep, done: Parts) -> list[Claim]:
    """Both camps, and where they meet."""
    every = curves(s, done)
    random, ordered, law = [], [], []
    for each in every:
        off = [abs(each.ratio(k, RANDOM).value / sqrt(each.n / k) - 1) for k in each.dims]
        random.append((max(off) <= 0.10, f"{each.name} {max(off):.1%}"))
        falls = [each.ratio(k, LAST).value > each.ratio(k, FIRST).value for k in each.dims]
        middle = [
            each.ratio(k, FIRST).value < each.ratio(k, RANDOM).value < each.ratio(k, VARYING).value for k in each.dims
        ]
        ordered.append((all(falls), f"{each.name} at {sum(falls)} of {len(falls)} k, random between at {sum(middle)}"))
        errors = [abs(each.law(k, f, way).value) for k in each.dims for f in FAMILIES for way in ("on", "off")]
        near = sum(error <= LAW for error in errors)
        law.append((near == len(errors), f"{each.name} {near} of {len(errors)}, largest {max(errors):.1%}"))
    cross = [f"{each.name} {_crossing(each)}" for each in every]
    model = [
        (each.ratio(each.dims[0], RANDOM).value > each.ratio(each.dims[0], RANDOM, "off").value, each.name)
        for each in every
    ]
    made = [
        Claim(f"on/plain of random subspaces is √(n/k) within 10 %, largest error: {_list(random)}", _all(random)),
        Claim(
            "k against k, the critics are right: the last k components cost more than the first k: " + _list(ordered),
            _all(ordered),
        ),
        Claim(
            "k against n − k, dimension alone makes off cheaper than on, for random subspaces too: " + _list(model),
            _all(model),
        ),
        Claim(
            f"on(k) = off(n − k) for the first components at k = {'; '.join(cross)}; below it off is the cheaper one",
            True,
        ),
        Claim(
            f"on/plain = 1/√share and off/plain = 1/√(1 − share) within 10 % at every k: {_list(law)}",
            _all(law),
        ),
    ]
    return [Claim(c.text, None) for c in made] if s.preset == "smoke" else made


def _crossing(each: Curves) -> str:
    k = each.crossing(FIRST)
    return f"{k:.0f}" if k is not None else f"({_side(each, FIRST)})"


def _list(found: list[tuple[bool, str]]) -> str:
    return "; ".join(words for _, words in found)


def _all(found: list[tuple[bool, str]]) -> bool:
    return all(right for right, _ in found)


def verdicts(s: Sweep, done: Parts) -> list[Verdict]:
    """What it says of the critics' claims."""
    names = ("any-subspace", "equal-dimension", "one-number")
    if s.preset == "smoke":
        return [Verdict(name, None, []) for name in names]
    every = curves(s, done)
    typical = {each.name: 128 if each.dataset == "cifar10" else 16 for each in every}
    against = {each.name: each.against(typical[each.name], FIRST, RANDOM) for each in every}
    same = [found.interval is not None and found.interval[0] <= 1 <= found.interval[1] for found in against.values()]
    first = [_row(each, FIRST, typical[each.name])[0] for each in every]
    random = [_row(each, RANDOM, typical[each.name])[0] for each in every]
    last = [_row(each, LAST, typical[each.name])[0] for each in every]
    cheaper = [each.ratio(k, FIRST).value < each.ratio(k, LAST).value for each in every for k in each.dims]
    errors = [abs(e.law(k, f, w).value) for e in every for k in e.dims for f in FAMILIES for w in ("on", "off")]
    words = "; ".join(f"{name}: first components over random {found}" for name, found in against.items())
    obeyed = sum(error <= LAW for error in errors)
    return [
        Verdict(
            names[0],
            "does not hold" if not any(same) else "holds" if all(same) else "depends",
            [row for pair in zip(first, random, strict=True) for row in pair][:4],
            "the data set" if any(same) and not all(same) else "",
            words,
        ),
        Verdict(
            names[1],
            "holds" if all(cheaper) else "depends" if any(cheaper) else "does not hold",
            [row for pair in zip(first, last, strict=True) for row in pair][:4],
            "the dimension" if any(cheaper) and not all(cheaper) else "",
            "first against last k components, as they compare",
        ),
        Verdict(
            names[2],
            "holds" if obeyed == len(errors) else "depends",
            first[:2],
            "" if obeyed == len(errors) else "the subspace",
            f"within 10 % in {obeyed} of {len(errors)} cases, median error {sorted(errors)[len(errors) // 2]:.1%}, "
            f"largest {max(errors):.1%}",
        ),
    ]


COLOURS = {FIRST: "own", RANDOM: "control", VARYING: "third", LAST: "shuffled"}


def draw(s: Sweep, done: Parts, folder: Path) -> None:
    """Norms against k: of each family, and of the complement of the first components."""
    every = curves(s, done)
    figure = new_figure(7 * len(every), 4.4)
    figure.subplots_adjust(wspace=0.75)
    for axes, each in zip(figure.subplots(1, len(every), squeeze=False)[0], every, strict=True):
        plain(axes, each.name, "dimension k", "median norm / plain norm")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(each.dims, [str(k) for k in each.dims])
        lines = []
        for family in FAMILIES:
            points = [(k, each.ratio(k, family).value) for k in each.dims]
            points = [(k, value) for k, value in points if not isinf(value)]
            if points:
                x, y = zip(*points, strict=True)
                lines.append(Line(family, x, y, COLOURS[family], family == RANDOM))
        off = [each.ratio(k, FIRST, "off").value for k in each.dims]
        if not any(map(isinf, off)):
            lines.append(Line("off the first components, n − k", each.dims, off, "gaussian"))
        plot(axes, lines, apart=0.07)
    save(figure, folder / "sweep.png")
