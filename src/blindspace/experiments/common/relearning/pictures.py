"""Learning from mislabelled images: the accuracy over epochs, that of every student, and success per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ...parts import Parts
from ..learnt import CHANCE, Learners, by_class, over_epochs
from ..pictures import COLOURS, INK, Line, new_figure, plain, plot, save
from .report import found
from .settings import (
    CONTROL_CELLS,
    D_NONE,
    FULL,
    OF_SHUFFLED,
    PAPER,
    STANDARD,
    RelearningSettings,
    at_scale,
)

SHADES = ("own", "second", "third", "gaussian", "shuffled", "paper", "control")


def draw(s: RelearningSettings, done: Parts, folder: Path) -> None:
    """Three pictures."""
    g = found(s, done)
    _epochs(s, g, folder / "epochs.png")
    _accuracies(s, g, folder / "accuracies.png")
    _success(s, g, folder / "success.png")


def _epochs(s: RelearningSettings, g: Learners, path: Path) -> None:
    """Test accuracy after every epoch: means over the seeds, bands from the lowest to the highest."""
    panels = {
        "random targets": [each.name for each in s.sets if each.targets == "R"],
        "the next class as target": [*(each.name for each in s.sets if each.targets == "D"), D_NONE],
        "controls of R-L2": [*CONTROL_CELLS, OF_SHUFFLED],
        f"noise; {s.full:,} images": [
            *(each.name for each in s.sets if each.targets == "noise"),
            *(at_scale(each, s) for each in FULL),
        ],
    }
    figure = new_figure(15, 9)
    figure.subplots_adjust(wspace=0.75, hspace=0.35)
    for axes, (title, cells) in zip(figure.subplots(2, 2).flatten(), panels.items(), strict=True):
        plain(axes, f"{g.name}, {title}", "epoch", "accuracy on clean test images")
        axes.set_ylim(0, 1)
        axes.axhline(CHANCE, color=INK, linewidth=1, linestyle=":")
        plot(axes, [_line(g, cell, SHADES[i % len(SHADES)]) for i, cell in enumerate(cells)])
    save(figure, path)


def _line(g: Learners, cell: str, colour: str) -> Line:
    curves = over_epochs(g.kept, cell)
    x = [float(epoch) for epoch in range(1, curves.shape[1] + 1)]
    band = curves.amin(0).tolist(), curves.amax(0).tolist()
    is_control = cell in (*CONTROL_CELLS, OF_SHUFFLED, D_NONE)
    return Line(
        cell.removeprefix("R-L2, ") if is_control else cell, x, curves.mean(0).tolist(), colour, is_control, band
    )


def _accuracies(s: RelearningSettings, g: Learners, path: Path) -> None:
    """The last epoch of every student beside the published accuracy."""
    full = {at_scale(each, s): f"{each.targets}-{each.norm}" for each in FULL}
    cells = [STANDARD, *full, *(each.name for each in s.sets), *CONTROL_CELLS, OF_SHUFFLED, D_NONE]
    published = {each.name: f"{each.targets}-{each.norm}" for each in s.sets} | full | {STANDARD: STANDARD}
    figure = new_figure(8, 8)
    axes = plain(figure.subplots(), f"{g.name}: after the last epoch", "accuracy on clean test images")
    values = [g.accuracy(cell) for cell in cells]
    controls = {*CONTROL_CELLS, OF_SHUFFLED, D_NONE}
    colours = [COLOURS["control" if cell in controls else "own"] for cell in cells]
    axes.barh(range(len(cells)), [value.value for value in values], color=colours)
    for place, (cell, value) in enumerate(zip(cells, values, strict=True)):
        if value.interval:
            ends = [min(max(end, 0), 1) for end in value.interval]
            axes.plot(ends, [place, place], color=INK, linewidth=1)
        if cell in published:
            theirs = PAPER[s.dataset][published[cell]]
            axes.plot([theirs], [place], "D", color=COLOURS["paper"], markersize=5)
    axes.plot([], [], "D", color=COLOURS["paper"], markersize=5, label="published: best epoch, all images")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.axvline(CHANCE, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(cells)), cells)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    save(figure, path)


def _success(s: RelearningSettings, g: Learners, path: Path) -> None:
    """Success of each attack by target, and accuracy of its student by class."""
    names = [*(each.name for each in s.sets), OF_SHUFFLED]
    figure = new_figure(13, 5.5)
    left, right = figure.subplots(1, 2, sharey=True)
    _map(left, "success of the attack, by target", [by_class(g.kept, "sets", name) for name in names])
    _map(right, "accuracy of the student, by true class", [by_class(g.kept, "students", name) for name in names])
    left.set_yticks(range(len(names)), names)
    save(figure, path)


def _map(axes: object, title: str, values: Sequence[Sequence[float | None]]) -> None:
    """A table of shares, each with its shade."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    plain(axes, title, "class")
    shades = torch.tensor([[0.0 if share is None else share for share in row] for row in values])
    axes.imshow(shades.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(values):
        for j, share in enumerate(row):
            said = "" if share is None else f"{share:.2f}"
            axes.text(j, i, said, ha="center", va="center", size=7.5, color="white" if (share or 0) > 0.6 else INK)
    axes.set_xticks(range(shades.shape[1]))
    axes.grid(visible=False)
