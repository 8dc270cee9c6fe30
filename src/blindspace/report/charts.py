"""Charts of the report, in the colours of the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .._html import number, size
from ..evidence import Evidence
from ..evidence.growing_noise import Step
from ..subspaces import EpsilonNullity, Spectrum
from .page import STAND_INS, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 5.6, 4.3  # inches of 72 units
_PLACES = {
    "above": (0, 9, "center", "bottom"),
    "below": (0, -9, "center", "top"),
    "left": (-11, 0, "right", "center"),
    "right": (11, 0, "left", "center"),
}


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: text beside the line.
        values: one per size; on a logarithmic axis a 0 leaves a gap.
        colour: a key of ``page.STAND_INS``.
        at: index of the point that the label stands at.
        side: side of that point that the label stands on.
        dashed: whether the line is dashed.
    """

    label: str
    values: Sequence[float]
    colour: str
    at: int = 0
    side: Literal["above", "below", "left", "right"] = "above"
    dashed: bool = False


def _double(step: Step) -> float:
    """The change in float64; not a number for a network that runs in its own precision only."""
    change = step.harmless.max_output_change_float64
    return float("nan") if change is None else change


def charts(steps: Sequence[Step]) -> dict[str, str]:
    """The charts of growing noise: ``change``, and ``kept`` where the network gives labels.

    Args:
        steps: the steps of size above 0, ascending.
    """
    sizes = [step.size for step in steps]
    last, own = steps[-1], steps[-1].harmless.dtype
    change = [
        Line("Gaussian noise", [s.gaussian.max_output_change for s in steps], "gaussian", at=-1),
        Line("shuffled δ", [s.shuffled.max_output_change for s in steps], "shuffled", -1, "below"),
        Line(f"harmless δ, {own}", [s.harmless.max_output_change for s in steps], "own"),
    ]
    in_double = ""
    if last.floor is not None and last.floor_float64 is not None and own != "float64":
        floors = [(s.floor or 0.0, s.floor_float64 or 0.0) for s in steps]
        change += [
            Line(f"{own} rounding of the input", [floor for floor, _ in floors], "own", 0, "below", True),
            Line("harmless δ, float64", [_double(s) for s in steps], "harmless"),
            Line("float64 rounding of the input", [floor for _, floor in floors], "harmless", 0, "below", True),
        ]
        in_double = f"{number(_double(last))} in float64 and "
    at = f"At size {size(last.size)}"
    said = (
        f"{at} harmless perturbations move an output by at most {in_double}{number(last.harmless.max_output_change)} "
        f"in {own}, Gaussian noise of the same L2 size by {number(last.gaussian.max_output_change)}."
    )
    drawn = {"change": chart("change", sizes, change, said)}
    if last.harmless.labels_changed is None:
        return drawn
    middle = len(steps) // 2
    kept = [
        Line("harmless δ", [_kept(s.harmless) for s in steps], "harmless"),
        Line("Gaussian noise", [_kept(s.gaussian) for s in steps], "gaussian", middle, "left"),
        Line("shuffled δ", [_kept(s.shuffled) for s in steps], "shuffled", min(middle + 1, len(steps) - 1), "right"),
    ]
    counted = (
        f"{at} harmless perturbations change {last.harmless.labels_changed} of {last.harmless.pairs} labels, "
        f"Gaussian noise {last.gaussian.labels_changed}."
    )
    return {**drawn, "kept": chart("kept", sizes, kept, counted, share=True)}


def _kept(evidence: Evidence) -> float:
    """The share of labels that stay."""
    return 1 - (evidence.labels_changed or 0) / evidence.pairs


def chart(name: str, sizes: Sequence[float], lines: Sequence[Line], description: str, share: bool = False) -> str:
    """Draw values against the size of the perturbation, both logarithmic.

    Args:
        name: prefix of every id in the SVG, unique on the page.
        sizes: sizes of the perturbations, above 0, ascending.
        lines: the lines to draw.
        description: text for readers who cannot see the chart.
        share: whether the values are shares in [0, 1], drawn on a linear axis.

    Returns:
        An ``<svg>`` element.
    """
    figure, axes = _axes(sizes)
    if share:
        axes.set_ylim(-0.02, 1.12)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    else:
        values = [value for line in lines for value in line.values if value > 0] or [1.0]
        low, high = min(values) / 300, max(values) * 100
        ticks = [10.0**power for power in range(-20, 5, 4) if low <= 10.0**power <= high]
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, [number(tick, 1).split("×")[-1].strip() for tick in ticks])
        axes.minorticks_off()
    _draw(axes, sizes, lines)
    return _svg(figure, name, description)


def spectrum_chart(spectrum: Spectrum, soft: EpsilonNullity | None) -> str:
    """Draw σ / ‖A‖ of every direction, largest first, on a logarithmic axis, as an ``<svg>`` element.

    Args:
        spectrum: singular values of the front, not all 0.
        soft: its ε-nullity, whose thresholds are marked; None to mark none.
    """
    from matplotlib.figure import Figure

    positions, sigma = np.array(spectrum.positions), np.array(spectrum.sigma) / spectrum.norm
    drawn = sigma > spectrum.tolerance / spectrum.norm
    marks = [] if soft is None else [epsilon / spectrum.norm for epsilon in soft.epsilons]
    low, high = min([*sigma[drawn], *marks]) / 3, 3.0
    figure = Figure(figsize=(7.2, 4.0))
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.84))
    axes.set_yscale("log")
    axes.set_xlim(0, spectrum.ambient_dim)
    axes.set_ylim(low, high)
    powers = range(0, -40, -max(1, int(np.ceil(-np.log10(low) / 5))))
    ticks = [10.0**power for power in powers if low <= 10.0**power]
    axes.set_yticks(
        ticks,
        [
            "1" if tick == 1 else number(tick, 1) if tick >= 0.01 else number(tick, 1).split("×")[-1].strip()
            for tick in ticks
        ],
    )
    axes.minorticks_off()
    axes.set_xlabel("direction, by falling singular value", color=STAND_INS["muted"], size=12.5, labelpad=7)
    _plain(axes)
    axes.plot(positions[drawn], sigma[drawn], color=STAND_INS["own"], linewidth=2.5)
    last = int(positions[drawn][-1])
    if last < spectrum.ambient_dim:
        axes.axvspan(last, spectrum.ambient_dim, color=STAND_INS["harmless"], alpha=0.18, linewidth=0)
        axes.text(
            (last + spectrum.ambient_dim) / 2,
            0.04,
            "σ = 0",
            transform=axes.get_xaxis_transform(),
            ha="center",
            color=STAND_INS["harmless"],
            size=12.5,
        )
    for at, share, count in zip(marks, soft.thresholds if soft else (), soft.counts if soft else (), strict=True):
        axes.axhline(at, color=STAND_INS["gaussian"], linewidth=1.5, linestyle=(0, (2, 3)))
        axes.annotate(
            f"below {share:g} ‖A‖: {count:,}",
            (1, at),
            (-6, 5),
            textcoords="offset points",
            xycoords=("axes fraction", "data"),
            ha="right",
            color=STAND_INS["gaussian"],
            size=12.5,
        )
    told = "; ".join(
        f"{count:,} of {spectrum.ambient_dim:,} lie below {share:g} times the largest"
        for share, count in zip(soft.thresholds if soft else (), soft.counts if soft else (), strict=True)
    )
    words = f"Singular values of the affine front, sorted; the last {spectrum.ambient_dim - last:,} are 0. {told}"
    return _svg(figure, "spectrum", words.strip())


def profile_chart(values: Sequence[float], block: int, description: str) -> str:
    """Draw the energy of a vector's values in their order, as an ``<svg>`` element.

    Args:
        values: means over blocks of values.
        block: number of values of a block.
        description: text for readers who cannot see the chart.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.6))
    axes = figure.add_axes((0.08, 0.2, 0.9, 0.76))
    axes.set_ylim(0, max([*values, 1e-3]) * 1.15)
    axes.set_xlim(0, max(len(values) - 1, 1) * block)
    axes.set_xlabel("value of the input, in order", color=STAND_INS["muted"], size=12.5, labelpad=7)
    _plain(axes)
    axes.plot(range(0, len(values) * block, block), values, color=STAND_INS["harmless"], linewidth=1.8)
    return _svg(figure, "profile", description)


def _plain(axes: Axes) -> None:
    axes.grid(axis="y", color=STAND_INS["rule"], linewidth=1)
    axes.tick_params(colors=STAND_INS["muted"], labelsize=12.5, length=0, pad=7)
    axes.set_frame_on(False)


def _svg(figure: Figure, name: str, description: str) -> str:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return inline_svg(buffer.getvalue(), name, description)


def _axes(sizes: Sequence[float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    axes = figure.add_axes((0.105, 0.125, 0.875, 0.865))
    axes.set_xscale("log", base=2)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    ticks = sizes[::2] if len(sizes) > 5 else sizes
    axes.set_xticks(ticks, [size(value) for value in ticks])
    axes.minorticks_off()
    axes.set_xlabel("largest change of any pixel (black 0, white 1)", color=STAND_INS["muted"], size=12.5, labelpad=7)
    _plain(axes)
    return figure, axes


def _draw(axes: Axes, sizes: Sequence[float], lines: Sequence[Line]) -> None:
    for line in lines:
        colour = STAND_INS[line.colour]
        drawn = axes.plot(sizes, line.values, color=colour, linewidth=2.5, marker="o", markersize=5, clip_on=False)[0]
        if line.dashed:
            drawn.set(linestyle=(0, (2, 3)), linewidth=1.5, marker="")
        height = line.values[line.at]
        if height == 0 and axes.get_yscale() == "log":  # there is no such height
            height = min(filter(None, line.values), default=1.0)
        right, up, across, along = _PLACES[line.side]
        if right == 0:  # a label at an end must not leave the chart
            across = {0: "left", -1: "right"}.get(line.at, across)
        axes.annotate(
            line.label,
            (sizes[line.at], height),
            (right, up),
            textcoords="offset points",
            color=colour,
            size=12.5,
            ha=across,
            va=along,
        )
