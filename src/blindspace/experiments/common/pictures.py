"""The style of the experiments' pictures: charts with few lines, and galleries of captioned images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ...extras import library

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MUTED, RULE, INK = "#63686f", "#e3e5e8", "#16191d"
COLOURS = {
    "own": "#1f5fbf",
    "second": "#2d7d46",
    "third": "#7a5bb5",
    "gaussian": "#c2570c",
    "shuffled": "#b3304f",
    "control": "#8a9099",
    "paper": "#8f6b1f",
}
"""Colours of lines by their role: three of ours, the controls, the paper's."""

_DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = library("matplotlib.figure", "plot", "a picture")
    figure: Figure = figures.Figure(figsize=(width, height), facecolor="white")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a ``.png``; equal figures give equal bytes."""
    figure.savefig(path, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})


def save_animation(frames: Iterable[Figure], path: Path, durations: Sequence[int], colours: int = 64) -> None:
    """Write figures of one size as an animated ``.gif`` that repeats; equal figures give equal bytes.

    Args:
        frames: Figures; each is drawn before the next one is made.
        path: Path of the ``.gif``.
        durations: How long each frame stands, in milliseconds.
        colours: Number of colours, those of the last frame.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = []
    for frame in frames:
        canvas = FigureCanvasAgg(frame)
        frame.set_dpi(_DPI)
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn.append(Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB"))  # type: ignore[no-untyped-call]
    palette = drawn[-1].quantize(colours)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in drawn]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=list(durations), loop=0, optimize=True)


def plain(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "") -> Axes:
    """Style axes: no frame, horizontal rules only."""
    axes.set_title(title, loc="left", color=INK, size=11, pad=9)
    axes.set_xlabel(xlabel, color=MUTED, size=10, labelpad=5)
    axes.set_ylabel(ylabel, color=MUTED, size=10, labelpad=5)
    axes.grid(axis="y", color=RULE, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=9, length=0, pad=5)
    axes.set_frame_on(False)
    return axes


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Label at its right end.
        x: Ascending abscissae.
        y: One ordinate per abscissa.
        colour: Key of ``COLOURS``.
        dashed: Whether it is dashed, as controls and bounds are.
        band: Lower and upper bounds, one per abscissa; None without an interval.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    band: tuple[Sequence[float], Sequence[float]] | None = None


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of horizontal bars, the first one on top; row i is at y = i."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def share_interval(axes: Axes, interval: tuple[float, float] | None, y: float, width: float = 1) -> None:
    """Draw the interval of a share at a row, cut to [0, 1]; nothing if there is none."""
    if interval:
        axes.plot([max(interval[0], 0), min(interval[1], 1)], [y, y], color=INK, linewidth=width)


def legend_below(figure: Figure, columns: int) -> None:
    """The legend of the first panel, below all panels; nothing if it has no labels."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=columns, frameon=False, fontsize=9
        )


def plot(axes: Axes, lines: Sequence[Line], apart: float = 0.052) -> None:
    """Draw lines with a label at the end of each, the labels spread so that they do not overlap.

    Args:
        axes: Axes with their scales set.
        lines: Lines to draw.
        apart: Smallest distance of two labels, as a share of the chart's height.
    """
    for line in lines:
        colour = COLOURS[line.colour]
        axes.plot(line.x, line.y, "--" if line.dashed else "-", color=colour, linewidth=2, marker="o", markersize=4)
        if line.band is not None:
            axes.fill_between(line.x, *line.band, color=colour, alpha=0.15, linewidth=0)
    axes.minorticks_off()
    name_ends(axes, [End(line.label, (line.x[-1], line.y[-1]), COLOURS[line.colour]) for line in lines], apart)


@dataclass(frozen=True)
class End:
    """The end of a line that is to be labelled: label, point ``(x, y)`` and colour."""

    label: str
    at: tuple[float, float]
    colour: str


def name_ends(
    axes: Axes, ends: Sequence[End], apart: float = 0.052, right: float = 0.03, size: float = 9, halo: bool = False
) -> None:
    """Label the right ends of lines, spread within the chart's height, with a thread from each label to its end.

    Args:
        axes: Axes with their scales set and everything else drawn.
        ends: Ends to label.
        apart: Smallest distance of two labels, as a share of the chart's height.
        right: Distance of a label from its end, as a share of the chart's width.
        size: Font size.
        halo: Whether labels have a white background, to be legible over lines.
    """
    axes.get_ylim()  # settles the scale from which the heights of the labels are computed
    to_share = axes.transAxes.inverted()
    points = [to_share.transform(axes.transData.transform(end.at)) for end in ends]
    heights = spread([float(up) for _, up in points], apart)
    for end, (across, up), height in zip(ends, points, heights, strict=True):
        axes.annotate(
            end.label,
            (across, up),
            (across + right, height),
            "axes fraction",
            "axes fraction",
            color=end.colour,
            size=size,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8} if halo else None,
            annotation_clip=False,
        )


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Heights near those given and in the same order, no two closer than ``apart``, none newly above 1."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    found = list(heights)
    for below, above in pairwise(order):
        found[above] = max(found[above], found[below] + apart)
    limit = max([1.0, *heights])
    for index in reversed(order):
        found[index] = min(found[index], limit)
        limit = found[index] - apart
    return found


def pixels(image: Tensor) -> Tensor:
    """An image ``(C, H, W)`` as matplotlib has it, ``(H, W, 3)``, cut to [0, 1]."""
    image = image.detach().double().clamp(0, 1)
    return image.expand(3, -1, -1).permute(1, 2, 0) if image.shape[0] == 1 else image.permute(1, 2, 0)


def signed(perturbation: Tensor) -> Tensor:
    """A perturbation ``(C, H, W)`` as a picture: grey is 0, its largest value black or white."""
    largest = float(perturbation.abs().max())
    return 0.5 + perturbation / (2 * largest) if largest > 0 else torch.full_like(perturbation, 0.5)


def gallery(
    path: Path,
    images: Sequence[Sequence[Tensor]],
    columns: Sequence[str],
    captions: Sequence[Sequence[str]],
    side: float = 1.25,
    colours: Sequence[Sequence[str]] | None = None,
) -> None:
    """Draw a grid of images, each with a caption under it.

    Args:
        path: Path of the ``.png``.
        images: Rows of ``(C, H, W)``, clipped to [0, 1].
        columns: Headings of the columns.
        captions: One caption per image; it may have several lines.
        side: Side of one image, in inches.
        colours: Colours of the captions, keys of ``COLOURS``; all muted if None.
    """
    lines = max(caption.count("\n") + 1 for row in captions for caption in row)
    height = side + 0.17 * lines + 0.1
    figure = new_figure(len(columns) * (side + 0.12), len(images) * height + 0.3)
    grid = figure.subplots(len(images), len(columns), squeeze=False)
    total = len(images) * height + 0.3
    figure.subplots_adjust(0, 0.1 / total, 1, 1 - 0.3 / total, wspace=0.1, hspace=(height - side) / side)
    for i, row in enumerate(images):
        for j, image in enumerate(row):
            axes = grid[i][j]
            axes.imshow(pixels(image).numpy(), interpolation="nearest")
            axes.axis("off")
            colour = MUTED if colours is None else COLOURS[colours[i][j]]
            axes.text(0.5, -0.04, captions[i][j], transform=axes.transAxes, ha="center", va="top", size=8, color=colour)
            if i == 0:
                axes.set_title(columns[j], size=9.5, color=INK, pad=6)
    save(figure, path)
