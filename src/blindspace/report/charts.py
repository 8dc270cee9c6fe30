"""Charts of the demo page, in the colours of the page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..evidence import Evidence
from ..evidence.growing_noise import Step
from .page import STAND_INS, inline_svg, number, size

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
    """The change in float64, in which every built-in network runs."""
    change = step.harmless.max_output_change_float64
    assert change is not None
    return change


def charts(steps: Sequence[Step]) -> dict[str, str]:
    """The charts of the demo: ``change`` and ``kept``.

    Args:
        steps: the steps of size above 0, ascending.
    """
    sizes = [step.size for step in steps]
    last, own = steps[-1], steps[-1].harmless.dtype
    change = [
        Line("Gaussian noise", [s.gaussian.max_output_change for s in steps], "gaussian", at=-1),
        Line("shuffled δ", [s.shuffled.max_output_change for s in steps], "shuffled", -1, "below"),
        Line(f"harmless δ, {own}", [s.harmless.max_output_change for s in steps], "own"),
        Line(f"{own} rounding of the input", [s.floor for s in steps], "own", 0, "below", True),
        Line("harmless δ, float64", [_double(s) for s in steps], "harmless"),
        Line("float64 rounding of the input", [s.floor_float64 for s in steps], "harmless", 0, "below", True),
    ]
    kept = [
        Line("harmless δ", [_kept(s.harmless) for s in steps], "harmless"),
        Line("Gaussian noise", [_kept(s.gaussian) for s in steps], "gaussian", 4, "left"),
        Line("shuffled δ", [_kept(s.shuffled) for s in steps], "shuffled", 5, "right"),
    ]
    at = f"At size {size(last.size)}"
    said = (
        f"{at} harmless perturbations move an output by at most {number(_double(last))} in "
        f"float64 and {number(last.harmless.max_output_change)} in {own}, Gaussian noise of the same L2 size by "
        f"{number(last.gaussian.max_output_change)}."
    )
    counted = (
        f"{at} harmless perturbations change {last.harmless.labels_changed} of {last.harmless.pairs} labels, "
        f"Gaussian noise {last.gaussian.labels_changed}."
    )
    return {"change": chart("change", sizes, change, said), "kept": chart("kept", sizes, kept, counted, share=True)}


def _kept(evidence: Evidence) -> float:
    """The share of labels that stay."""
    assert evidence.labels_changed is not None  # growing noise is measured on networks with labels
    return 1 - evidence.labels_changed / evidence.pairs


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
    import matplotlib

    figure, axes = _axes(sizes)
    if share:
        axes.set_ylim(-0.02, 1.12)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    else:
        values = [value for line in lines for value in line.values if value > 0]
        low, high = min(values) / 300, max(values) * 100
        ticks = [10.0**power for power in range(-20, 5, 4) if low <= 10.0**power <= high]
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, [number(tick, 1).split("×")[-1].strip() for tick in ticks])
        axes.minorticks_off()
    _draw(axes, sizes, lines)
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
    axes.set_xticks(sizes[::2], [size(value) for value in sizes[::2]])
    axes.minorticks_off()
    axes.set_xlabel("largest change of any pixel (black 0, white 1)", color=STAND_INS["muted"], size=12.5, labelpad=7)
    axes.grid(axis="y", color=STAND_INS["rule"], linewidth=1)
    axes.tick_params(colors=STAND_INS["muted"], labelsize=12.5, length=0, pad=7)
    axes.set_frame_on(False)
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
