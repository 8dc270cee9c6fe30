"""The picture of the benchmark: cost of a projection against the side of the image, beside the baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ValueRangeError
from ..experiments.common.pictures import MUTED, RULE, End, name_ends
from ..report.picture import check_picture, save_figure
from .growth import GrowthRow
from .run import BaselineRow, BenchRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _BOUND = "#1f5fbf", "#8a9099"
_BASELINES = {
    "scipy LSMR": ("LSMR", "#c2570c"),
    "scipy splu of A Aᵀ": ("sparse LU", "#2d7d46"),
    "sparse Cholesky": ("sparse Cholesky", "#7a5bb5"),
    "scipy.linalg.null_space": ("null_space", "#b3304f"),
    "torch.linalg.svd": ("torch svd", "#8f6b1f"),
}


@dataclass(frozen=True)
class _Line:
    """One line: label, colour, points (side, value, finished) in ascending order, and whether it is dashed."""

    label: str
    colour: str
    points: list[tuple[int, float, bool]]
    dashed: bool = False


def draw(path: Path, rows: Sequence[BenchRow], baselines: Sequence[BaselineRow]) -> None:
    """Draw set-up time, time per image and memory against the side of the image, all logarithmic.

    Args:
        path: Path of the picture, .png, .svg or .pdf.
        rows: Rows of ours; those without a side are left out.
        baselines: Rows of the baselines; those without a side and those skipped are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: No row has a side, or the file name does not end like a picture's.
        FileError: The picture cannot be written.
    """
    check_picture(path)
    rows = sorted((row for row in rows if row.side is not None), key=lambda row: row.side or 0)
    if not rows:
        raise ValueRangeError("the picture shows cost against image size; measure some sizes (--sizes)")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.4))
    sides = sorted({row.side for row in rows if row.side})
    for index, (title, lines) in enumerate(_panels(rows, baselines).items()):
        axes = figure.add_axes((0.045 + index * 0.325, 0.13, 0.2, 0.74))
        _panel(axes, title, lines, sides)
    name = "7×7 convolution of stride 2, 3→10 channels, float64"
    figure.text(0.045, 0.955, name, size=12.5, color=MUTED)
    if any(
        not finished for lines in _panels(rows, baselines).values() for line in lines for *_, finished in line.points
    ):
        note = "hollow: stopped before convergence, so a lower bound"
        figure.text(0.985, 0.955, note, size=11, color=MUTED, ha="right")
    save_figure(figure, path)


def draw_growth(path: Path, rows: Sequence[GrowthRow]) -> None:
    """Draw the cost against the side of the image and against the batch, and memory, before and now if both are there.

    Args:
        path: Path of the picture, .png, .svg or .pdf.
        rows: What was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueRangeError: The file name does not end like a picture's.
        FileError: The picture cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    largest = max(row.side for row in rows if len(row.batches) > 1)
    colours = {"before": _BOUND, "now": _OURS}
    cost: list[_Line] = []
    by_batch: list[_Line] = []
    memory: list[_Line] = []
    for name, colour in colours.items():
        mine = [row for row in rows if row.copy == name]
        for row in (row for row in mine if row.side == largest):
            by_batch.append(_Line(name, colour, [(b, c, True) for b, c in zip(row.batches, row.costs, strict=True)]))
        if mine:
            cost.append(_Line(name, colour, [(row.side, row.costs[0], True) for row in mine]))
            kept = [(row.side, row.kept / 1e6, True) for row in mine]
            memory += [
                _Line(f"{name}, peak", colour, [(row.side, row.peak_setup / 1e6, True) for row in mine], True),
                _Line(f"{name}, kept", colour, kept),
            ]
    figure = Figure(figsize=(15, 5.4))
    panels = (
        ("one image, in passes of the layer", cost, "side of the image, pixels"),
        (f"batches at {largest}×{largest}, in passes", by_batch, "images at once"),
        ("memory kept, and its peak at set-up, megabytes", memory, "side of the image, pixels"),
    )
    for index, (title, lines, axis) in enumerate(panels):
        axes = figure.add_axes((0.045 + index * 0.325, 0.13, 0.2, 0.74))
        _panel(axes, title, lines, sorted({at for line in lines for at, *_ in line.points}), axis)
        values = [value for line in lines for _, value, _ in line.points]
        ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
        ticks = [tick for tick in ticks if 0.8 * min(values) <= tick <= 1.25 * max(values)]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    name = "7×7 convolution of stride 2, 3→10 channels, float64; a pass is one forward and one adjoint"
    figure.text(0.045, 0.955, name, size=12.5, color=MUTED)
    save_figure(figure, path)


def _panels(rows: Sequence[BenchRow], baselines: Sequence[BaselineRow]) -> dict[str, list[_Line]]:
    """The lines of each chart, by its title."""

    def ours(label: str, value: Callable[[BenchRow], float], colour: str = _OURS, dashed: bool = False) -> _Line:
        return _Line(label, colour, [(row.side or 0, value(row), True) for row in rows], dashed)

    def theirs(value: Callable[[BaselineRow], float | None]) -> list[_Line]:
        lines = []
        for rival, (label, colour) in _BASELINES.items():
            measured = [(row.side, value(row), row.finished) for row in baselines if row.rival == rival and row.side]
            points = sorted((side, number, finished) for side, number, finished in measured if side and number)
            lines += [_Line(label, colour, points)] if points else []
        return lines

    return {
        "set-up, seconds": [ours("Blindspace", lambda row: row.setup), *theirs(lambda row: row.setup)],
        "one image, seconds": [
            ours("Blindspace, alone", lambda row: row.seconds_1, dashed=True),
            ours("Blindspace, of 64", lambda row: row.seconds_64 / 64),
            ours("lower bound, of 64", lambda row: row.bound_64 / 64, _BOUND),
            *theirs(lambda row: row.seconds_64 and row.seconds_64 / 64),
        ],
        "memory, megabytes": [
            ours("Blindspace, kept", lambda row: row.kept / 1e6),
            ours("Blindspace, peak", lambda row: max(row.peak_setup, row.kept) / 1e6, dashed=True),
            *theirs(lambda row: row.kept and row.kept / 1e6),
        ],
    }


def _panel(
    axes: Axes, title: str, lines: Sequence[_Line], sides: Sequence[int], axis: str = "side of the image, pixels"
) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.minorticks_off()
    axes.set_xlim(sides[0] / 1.08, sides[-1] * 1.08)
    axes.set_title(title, loc="left", color=MUTED, size=12.5, pad=10)
    axes.set_xlabel(axis, color=MUTED, size=11, labelpad=6)
    axes.grid(axis="y", color=RULE, linewidth=1)
    axes.tick_params(colors=MUTED, labelsize=10.5, length=0, pad=6)
    axes.set_frame_on(False)
    for line in lines:
        x, y, finished = zip(*line.points, strict=True)
        axes.plot(x, y, color=line.colour, linewidth=2.2, linestyle=(0, (2, 2)) if line.dashed else "-", clip_on=False)
        for at, value, done in zip(x, y, finished, strict=True):
            axes.plot(at, value, "o", color=line.colour, markersize=5, mfc=None if done else "white", clip_on=False)
    for side in {line.points[-1][0] for line in lines}:  # labels of lines that end at the same side must not overlap
        here = [End(line.label, line.points[-1][:2], line.colour) for line in lines if line.points[-1][0] == side]
        name_ends(axes, here, right=0.05, size=11, halo=True)
