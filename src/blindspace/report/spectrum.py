"""The picture of a map's ε-nullity: its singular values, sorted, and the directions below given thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ValueRangeError
from ..subspaces.epsilon_nullity import EpsilonNullity, Spectrum
from .picture import check_picture, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MUTED, _RULE, _LINE, _BLIND, _THRESHOLD = "#63686f", "#e3e5e8", "#1f5fbf", "#f1e4d6", "#c2570c"

ROOM = 0.3
"""Decades left free below the smallest value or threshold drawn."""

APART = 0.045
"""Smallest distance of two labels, as a share of the chart's height."""


def draw(spectrum: Spectrum, soft: EpsilonNullity | None, path: Path) -> None:
    """Draw σ / ‖A‖ of every direction, largest first, on a logarithmic axis; σ = 0, to rounding, is a band.

    Args:
        spectrum: singular values of a map.
        soft: ε-nullity of the same map, whose thresholds are marked; None to mark nothing.
        path: the picture, .png, .svg or .pdf.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: the file name is not that of a picture, the map is zero, or ``soft`` is of another map.
        FileError: the picture cannot be written.
    """
    check_picture(path)
    if not spectrum.norm > 0:
        raise ValueRangeError("every singular value is 0; there is no spectrum to draw")
    if soft is not None and soft.ambient_dim != spectrum.ambient_dim:
        raise ValueRangeError(
            f"the thresholds belong to a map of {soft.ambient_dim} inputs, the spectrum to one of "
            f"{spectrum.ambient_dim}"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 5.4))
    axes = figure.add_axes((0.08, 0.12, 0.56, 0.76))
    positions, sigma = np.array(spectrum.positions), np.array(spectrum.sigma) / spectrum.norm
    drawn = sigma > spectrum.tolerance / spectrum.norm
    marks = [] if soft is None else [epsilon / spectrum.norm for epsilon in soft.epsilons]
    axes.set_yscale("log")
    axes.set_xlim(0, spectrum.ambient_dim)
    axes.set_ylim(min([*sigma[drawn], *marks]) * 10**-ROOM, max([1.0, *marks]) * 10**ROOM)
    _style(axes)
    axes.plot(positions[drawn], sigma[drawn], color=_LINE, linewidth=2.2)
    last = int(positions[drawn][-1])
    if last < spectrum.ambient_dim:
        axes.axvspan(last, spectrum.ambient_dim, color=_BLIND, linewidth=0)
        middle, across = (last + spectrum.ambient_dim) / 2, axes.get_xaxis_transform()
        axes.text(middle, 0.02, "σ = 0", transform=across, ha="center", color=_MUTED, size=11)
    if soft is not None:
        _mark(axes, soft, marks)
    origin = "estimated quantiles" if spectrum.kind == "estimated" else "exact to rounding"
    figure.text(0.08, 0.93, f"singular values, {origin} ({spectrum.method})", size=11, color=_MUTED)
    save_figure(figure, path)


def _style(axes: Axes) -> None:
    axes.set_xlabel("direction, by falling singular value", color=_MUTED, size=11, labelpad=6)
    axes.set_ylabel("σ / ‖A‖", color=_MUTED, size=11)
    axes.minorticks_off()
    axes.grid(axis="y", color=_RULE, linewidth=1)
    axes.tick_params(colors=_MUTED, labelsize=10.5, length=0, pad=6)
    axes.set_frame_on(False)


def _mark(axes: Axes, soft: EpsilonNullity, marks: list[float]) -> None:
    """Draw each threshold, its intersection with the curve, and its count beside the chart; labels never overlap."""
    to_share = axes.transAxes.inverted()
    height = -1.0
    for index in sorted(range(len(marks)), key=lambda index: marks[index]):
        at = marks[index]
        axes.axhline(at, color=_THRESHOLD, linewidth=1, linestyle=(0, (2, 3)))
        ends = [soft.ambient_dim - count for count in (soft.high[index], soft.low[index])]
        axes.plot(ends, [at, at], color=_THRESHOLD, linewidth=4, solid_capstyle="round")
        axes.plot(soft.ambient_dim - soft.counts[index], at, "o", color=_THRESHOLD, markersize=5, clip_on=False)
        up = float(to_share.transform(axes.transData.transform((0, at)))[1])
        height = max(up, height + APART)
        axes.annotate(
            label(soft, index),
            (1, up),
            (1.03, height),
            "axes fraction",
            "axes fraction",
            color=_THRESHOLD,
            size=10,
            va="center",
            arrowprops={"arrowstyle": "-", "color": _THRESHOLD, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
            annotation_clip=False,
        )


def label(soft: EpsilonNullity, index: int) -> str:
    """One count in words, such as ``ε = 0.01 ‖A‖: 512``; with its bounds where it is not exact."""
    size = f"{soft.thresholds[index]:g}" + (" ‖A‖" if soft.relative else "")
    count, kind = f"{soft.counts[index]:,}", soft.kinds[index]
    if kind == "exact":
        return f"ε = {size}: {count}"
    bounds = f"{soft.low[index]:,} to {soft.high[index]:,}"
    return f"ε = {size}: about {count} ({bounds}{', 95 %' if kind == 'estimated' else ''})"
