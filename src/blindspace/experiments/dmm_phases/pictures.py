"""Pictures of clinging and dimpling: charts over training, animations of the boundary, and the scene to be turned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...report.scene import Scene, View, surface, write_scene
from ..common.boundaries import distance_along
from ..common.ensembles import Ensemble
from ..common.pictures import COLOURS, INK, MUTED, RULE, Line, new_figure, plain, plot, save, save_animation
from ..parts import Kept, Parts
from .measure import DIM, SUBSPACES, toy_name
from .settings import CHESS, DIAGONAL, DmmPhases, Toy
from .toys import NEVER, network_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = (27, 27, 21)
"""Points per side of the grid on which the chessboard's boundary is computed."""

LOW, HIGH = (-0.15, -0.15, -0.5), (1.15, 1.15, 0.5)

FRAME, LAST_FRAME = 550, 2500
"""How long a frame of an animation stands, in milliseconds."""

LINES = {"autoencoder": "own", "PCA": "second", "random": "control", "constant pixels": "gaussian"}


def draw(s: DmmPhases, done: Parts, folder: Path) -> None:
    """Charts, both animations, and the scene of the chessboard."""
    save(_charts(s, done), folder / "dmm-phases.png")
    for toy, frame in ((DIAGONAL, _diagonal), (CHESS, _board)):
        times = len(done[toy_name(toy.name, 1.0)].arrays["steps"])
        durations = [FRAME] * (times - 1) + [LAST_FRAME]
        save_animation(_frames(s, done, toy, frame), folder / f"{toy.name}.gif", durations)
    write_scene(scene(s, done), folder / "chess-boundary.html")


def shown_seed(kept: Kept) -> int:
    """The first seed whose network learns all points; the first one if none does."""
    learnt = (kept.arrays["when"][0] != NEVER).nonzero().flatten().tolist()
    return int(learnt[0]) if learnt else 0


def _words(scale: float) -> str:
    return "initial weights as drawn" if scale == 1 else f"initial weights off the data × {scale:g}"


def shown_scales(toy: Toy) -> tuple[float, float]:
    """The largest and the smallest surgery, which animations show side by side."""
    return max(toy.surgery), min(toy.surgery)


def _charts(s: DmmPhases, done: Parts) -> Figure:
    figure = new_figure(12.5, 3.9 * (1 + len(s.datasets)))
    grid = figure.subplots(1 + len(s.datasets), max(2, len(s.runs)), squeeze=False)
    figure.subplots_adjust(wspace=0.72, hspace=0.5)
    for axes, toy in zip(grid[0], (DIAGONAL, CHESS), strict=False):
        plain(axes, toy.title, "step", "share on the data's flat, over chance")
        _steps(axes)
        lines = []
        for scale, colour in zip(toy.surgery, ("own", "gaussian", "second"), strict=False):
            kept = done[toy_name(toy.name, scale)]
            steps = kept.arrays["steps"].tolist()
            ratio = kept.arrays["share"][: len(steps)] * toy.ambient / toy.dim
            low, middle, high = (ratio.quantile(q, 1).tolist() for q in (0.25, 0.5, 0.75))
            label = "as drawn" if scale == 1 else f"off-data init × {scale:g}"
            lines.append(Line(label, [max(step, 0.5) for step in steps], middle, colour, band=(low, high)))
        _zero_and_chance(axes)
        plot(axes, lines, 0.09)
    for unused in grid[0][2:]:
        unused.remove()
    for row, dataset in zip(grid[1:], s.datasets, strict=True):
        for axes, run in zip(row, s.runs, strict=False):
            kept = done[f"{dataset}-{run.name}"]
            plain(axes, f"{dataset}, {run.title}", "step", "‖Pg‖ / ‖g‖ over chance")
            _steps(axes)
            _zero_and_chance(axes)
            plot(axes, [_over_chance(s, kept, name) for name in SUBSPACES if name in kept.arrays], 0.07)
        for unused in row[len(s.runs) :]:
            unused.remove()
    return figure


def _zero_and_chance(axes: Axes) -> None:
    axes.axhline(0, color=RULE, linewidth=1)  # so that the axis begins at 0
    axes.axhline(1, color=MUTED, linewidth=1, linestyle=":")


def _steps(axes: Axes) -> None:
    """Steps on a logarithmic axis, with the start of training half a step before the first one."""
    axes.set_xscale("log")
    ticks = [0.5, 1, 10, 100, 1000, 10000]
    axes.set_xticks(ticks, ["0", "1", "10", "100", "10³", "10⁴"])


def chance(kept: Kept, name: str) -> float:
    """√(k/n): the root mean square fraction of a random vector in the subspace."""
    k = kept.values["constant"] if name == "constant pixels" else DIM
    return float((k / kept.values["ambient"]) ** 0.5)


def _over_chance(s: DmmPhases, kept: Kept, name: str) -> Line:
    over = kept.arrays[name].median(2).values / chance(kept, name)
    low, high = over.amin(1).tolist(), over.amax(1).tolist()
    steps = [max(step, 0.5) for step in s.snapshots]
    return Line(name, steps, over.mean(1).tolist(), LINES[name], name == "random", (low, high))


def _frames(s: DmmPhases, done: Parts, toy: Toy, frame: object) -> Iterator[Figure]:
    """One figure per step, one panel per surgery."""
    first = done[toy_name(toy.name, 1.0)]
    seed = shown_seed(first)
    caption = "orange: boundary above the board, purple: below it, grey: nowhere near" if toy is CHESS else ""
    for time, step in enumerate(first.arrays["steps"].tolist()):
        figure = new_figure(7.6, 4.1)
        figure.text(0.97, 0.94, caption, ha="right", va="top", color=MUTED, size=8.5)
        panels = figure.subplots(1, 2)
        figure.subplots_adjust(0.03, 0.03, 0.97, 0.84, wspace=0.08)
        figure.suptitle(f"{toy.title}, step {step:,}", x=0.03, y=0.97, ha="left", color=INK, size=11)
        for axes, scale in zip(panels, shown_scales(toy), strict=True):
            assert callable(frame)
            frame(axes, network_at(done[toy_name(toy.name, scale)], time, seed))
            axes.set_title(_words(scale), loc="left", size=9.5, color=MUTED)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal")
            for spine in axes.spines.values():
                spine.set_color("#c9cdd2")
        yield figure


def _points(axes: Axes, toy: Toy) -> None:
    x, sides = toy.data()
    for side, marker, face, edge in ((-1, "o", INK, "white"), (1, "s", "white", INK)):
        chosen = x[sides == side]
        axes.plot(chosen[:, 0], chosen[:, 1], marker, color=face, markeredgecolor=edge, markersize=7, linewidth=0)


def _diagonal(axes: Axes, network: Ensemble) -> None:
    """The side of each point of the square, and the boundary."""
    at = torch.linspace(-1.3, 1.3, 161, dtype=torch.float64)
    plane = torch.cartesian_prod(at, at)
    with torch.no_grad():
        values = network(plane)[0, :, 0].view(161, 161).T.numpy()
    axes.contourf(at, at, values, levels=[-1e9, 0, 1e9], colors=["#c9d3e0", "#fdeee4"])
    axes.contour(at, at, values, levels=[0], colors=[COLOURS["gaussian"]], linewidths=2)
    axes.plot([-1.3, 1.3], [-1.3, 1.3], color=MUTED, linewidth=1, linestyle=":")
    _points(axes, DIAGONAL)


def _board(axes: Axes, network: Ensemble) -> None:
    """How far the boundary is above and below each point of the board's plane, the nearer of both."""
    count = 41
    at = torch.linspace(LOW[0], HIGH[0], count, dtype=torch.float64)
    plane = torch.cartesian_prod(at, at)
    start = torch.cat([plane, torch.zeros_like(plane[:, :1])], 1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(start)

    def margin(points: Tensor) -> Tensor:
        return network(points)[0, :, 0]

    with torch.no_grad():
        above, below = (distance_along(margin, start, sign * up, 0.5, 20) for sign in (1, -1))
    height = torch.where(above < below, above, -below)
    shown = height.masked_fill(height.isinf(), torch.nan).view(count, count).T.numpy()
    extent = (LOW[0], HIGH[0], LOW[1], HIGH[1])
    axes.set_facecolor("#eceef1")
    axes.imshow(shown, origin="lower", extent=extent, cmap="PuOr_r", vmin=-0.5, vmax=0.5, interpolation="nearest")
    with torch.no_grad():
        values = margin(start).view(count, count).T.numpy()
    if values.min() < 0 < values.max():
        axes.contour(at, at, values, levels=[0], colors=[INK], linewidths=1)
    _points(axes, CHESS)


def scene(s: DmmPhases, done: Parts) -> Scene:
    """The chessboard's boundary in space over training, one view per surgery."""
    seed = shown_seed(done[toy_name(CHESS.name, 1.0)])
    steps = done[toy_name(CHESS.name, 1.0)].arrays["steps"].tolist()
    axes = [torch.linspace(low, high, n, dtype=torch.float64) for low, high, n in zip(LOW, HIGH, SIDE, strict=True)]
    grid = torch.cartesian_prod(*axes)
    x, sides = CHESS.data()
    views = []
    for scale in shown_scales(CHESS):
        kept = done[toy_name(CHESS.name, scale)]
        with torch.no_grad():
            values = [network_at(kept, time, seed)(grid)[0, :, 0].view(SIDE) for time in range(len(steps))]
        notes = [_note(kept, time, seed) for time in range(len(steps))]
        views.append(View(_words(scale).capitalize(), [surface(each) for each in values], notes))
    return Scene(
        title="A decision boundary dimples around its data",
        lead="A network with 400 hidden neurons learns a chessboard that lies in a plane of space. Each step shows "
        "where its answer changes. Left and right differ only in the size of the initial weights that no training "
        "point can see, those along the plane's normal: the board is learnt at the same steps. "
        f"Network {seed + 1} of {s.seeds}.",
        low=LOW,
        high=HIGH,
        points=x,
        sides=sides > 0,
        plane=0.0,
        steps=[f"step {step:,}" for step in steps],
        views=views,
        legend=("points of one class", "points of the other class"),
    )


def _note(kept: Kept, time: int, seed: int) -> str:
    def of(name: str) -> float:
        return float(kept.arrays[name][time, seed])

    def far(name: str) -> str:
        return f"{of(name):.2f}" if of(name) < CHESS.reach else f"more than {CHESS.reach:g}"

    return (
        f"{round(25 * of('right'))} of 25 points are on their right side. Median distance from a point to the "
        f"boundary: {far('distance on')} along the board, {far('distance off')} off it. The gradient is "
        f"{of('angle'):.0f}° from the board."
    )
