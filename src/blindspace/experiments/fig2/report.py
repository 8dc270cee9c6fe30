"""Figure 2: rows, claims and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..common.dimensions import at_most, error, in_words, verdict
from ..common.pictures import COLOURS, INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Row
from ..parts import Kept, Parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from .settings import SETS, Fig2, Point, points

FLOAT32 = torch.finfo(torch.float32).eps


def rows(s: Fig2, done: Parts) -> list[Row]:
    """Every point: the paper's n − m, the certified dimension after training, and the certificate."""
    made, more = [], []
    for point in points(s):
        kept = done[point.part]
        before, after = kept.values["before"], kept.values["after"]
        case = f"{point.family}, {'N_out' if 'MLP' in point.family else 'C_out'} {point.width}"
        mark = "" if verdict(after) == "right" else f"**{verdict(after)}**: "
        first = "the same" if _same(kept) else f"{before['dim']}, {in_words(before)}"
        reason = f"{mark}{in_words(after)}; random weights: {first}"
        made.append(Row(case, "dimension", after["dim"], after["formula_dim"], reason=reason))
        if "sigma" in kept.arrays:
            sigma, n = kept.arrays["sigma"], after["in_dim"]
            made.append(Row(case, "directions with σ ≤ 1.2e-7 σ_max", at_most(sigma, n, FLOAT32)))
            reason = "singular values of the dense matrix, at the usual tolerance"
            more.append(Row(case, "dimension by SVD", _by_svd(kept), after["formula_dim"], control=True, reason=reason))
    for dataset, widths in s.widths:
        if dataset in s.missing:
            case = f"MLP-5, {SETS[dataset]}, N_out {widths[0]} to {widths[-1]}"
            made.append(Row(case, "dimension", None, reason=f"not run: {s.missing[dataset]}"))
    for case in done["controls"].values["cases"]:
        reason = f"{case['expected']} by construction; n − m asks for independent kernels"
        more.append(Row(case["name"], "dimension", case["dim"], case["formula_dim"], control=True, reason=reason))
    return made + more


def _same(kept: Kept) -> bool:
    before, after = kept.values["before"], kept.values["after"]
    return bool(before["dim"] == after["dim"]) and verdict(before) == verdict(after)


def _by_svd(kept: Kept) -> int:
    after = kept.values["after"]
    tolerance = max(after["in_dim"], after["out_dim"]) * torch.finfo(torch.float64).eps
    return at_most(kept.arrays["sigma"], after["in_dim"], tolerance)


def claims(s: Fig2, done: Parts) -> list[Claim]:
    """A certificate at every point, compared with the formula, with random weights and with an SVD."""
    found = {point: done[point.part] for point in points(s)}
    certified = {point: kept for point, kept in found.items() if kept.values["after"]["certificate"]}
    proved = {p: kept for p, kept in certified.items() if verdict(kept.values["after"]) in ("right", "wrong")}
    marked = [f"{p.family}, {p.width}" for p, kept in certified.items() if verdict(kept.values["after"]) != "right"]
    right = [p for p, kept in proved.items() if error(kept.values["after"]) == 0]
    moved = [kept.values["moved"] for kept in found.values()]
    both = {p: kept for p, kept in proved.items() if verdict(kept.values["before"]) in ("right", "wrong")}
    stayed = [p for p, kept in both.items() if _same(kept)]
    checked = {p: kept for p, kept in proved.items() if "sigma" in kept.arrays}
    agree = [p for p, kept in checked.items() if _by_svd(kept) == kept.values["after"]["dim"]]
    controls = done["controls"].values["cases"]
    return [
        Claim(
            f"the dimension is certified at {len(certified)} of {len(found)} points: proved at {len(proved)}"
            + (f"; marked: {'; '.join(marked)}" if marked else ""),
            len(certified) == len(found),
        ),
        Claim(f"where it is proved, n − m is right at {len(right)} of {len(proved)} points", len(right) == len(proved)),
        Claim(
            f"training matters little: it moves the weights by {min(moved):.1%} to {max(moved):.1%}, the dimension is "
            f"that of the random weights at {len(stayed)} of {len(both)} points where both are proved",
            len(stayed) == len(both),
        ),
        Claim(f"an SVD finds the same dimension at {len(agree)} of {len(checked)} points", len(agree) == len(checked)),
        Claim(
            "where kernels repeat, the certified dimension is the one by construction in "
            f"{sum(case['dim'] == case['expected'] for case in controls)} of {len(controls)} layers, n − m in "
            f"{sum(case['formula_dim'] == case['expected'] for case in controls)}",
            all(case["dim"] == case["expected"] != case["formula_dim"] for case in controls),
        ),
    ]


def draw(s: Fig2, done: Parts, folder: Path) -> None:
    """One panel per sweep, with the formula and the certified points; the smallest singular values of some layers."""
    sweeps: dict[str, list[Point]] = {}
    for point in points(s):
        title = point.family if "MLP" in point.family else f"convolution, {point.family.split(', ', 1)[1]}, CIFAR-10"
        sweeps.setdefault(title, []).append(point)
    columns = 3
    lines = -(-(len(sweeps) + 1) // columns)
    axes = (figure := new_figure(4.3 * columns, 3.5 * lines)).subplots(lines, columns, squeeze=False).flatten()
    figure.subplots_adjust(hspace=0.45, wspace=0.3)
    for panel, (title, swept) in zip(axes, sweeps.items(), strict=False):
        _panel(plain(panel, title, "N_out" if "MLP" in title else "C_out", "dimension"), swept, done)
    _spectra(axes[len(sweeps)], s, done)
    for panel in axes[len(sweeps) + 1 :]:
        panel.axis("off")
    save(figure, folder / "fig2.png")


def _panel(axes: Axes, swept: Sequence[Point], done: Parts) -> None:
    """The networks of one sweep, one marker per family; a ring where the formula is not proved right."""
    known = sorted({(point.width, done[point.part].values["after"]["formula_dim"]) for point in swept})
    axes.plot(*zip(*known, strict=True), "--", color=COLOURS["paper"], linewidth=1.5, label="n − m (paper)", zorder=1)
    axes.locator_params(axis="x", integer=True)
    families = list(dict.fromkeys(point.family for point in swept))
    for family, sign, colour in zip(families, "osD", ("own", "second", "third"), strict=False):
        of = [(point.width, done[point.part].values["after"]) for point in swept if point.family == family]
        x, y = zip(*((width, after["dim"]) for width, after in of), strict=True)
        size = 70 - 25 * families.index(family)
        axes.scatter(x, y, size, color=COLOURS[colour], marker=sign, label=f"{family.split(',')[0]}, certified")
        for width, after in of:
            if verdict(after) != "right":
                axes.scatter([width], [after["dim"]], 190, facecolors="none", edgecolors=COLOURS["shuffled"], zorder=3)
                axes.annotate(
                    f"{verdict(after)}: {after['dim']}",
                    (width, after["dim"]),
                    xytext=(6, 16 + 11 * families.index(family)),
                    textcoords="offset points",
                    size=8.5,
                    color=COLOURS["shuffled"],
                )
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def _spectra(axes: Axes, s: Fig2, done: Parts) -> None:
    """The smallest singular values at the points where the formula's value reaches 0."""
    plain(axes, "smallest singular values, σ / σ_max", "of the smallest, the …th", "").set_yscale("log")
    for point, colour in zip([p for p in points(s) if p.part in s.checked], COLOURS.values(), strict=False):
        sigma = done[point.part].arrays["sigma"]
        smallest = sigma.flip(0)[:150] / sigma[0]
        axes.plot(range(1, len(smallest) + 1), smallest.tolist(), color=colour, label=f"{point.family}: {point.width}")
    axes.axhline(FLOAT32, color=MUTED, linewidth=1, linestyle=":")
    axes.annotate("rounding in float32", (0.98, FLOAT32), xycoords=("axes fraction", "data"), ha="right", size=8)
    axes.set_ylim(1e-16, 1)
    axes.legend(frameon=False, fontsize=7.5, labelcolor=INK)
