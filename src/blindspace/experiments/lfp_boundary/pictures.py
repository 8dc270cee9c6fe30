"""Where the boundaries differ: the planes, and exceptions by correlation."""

from __future__ import annotations

from pathlib import Path

from ..common.pictures import COLOURS, INK, MUTED, new_figure, plain, save
from ..parts import Parts
from .report import correlated, ends
from .settings import BoundarySettings

PLANES = {"effect": "effect of the samples", "sample": "a sample of wrong target"}


def draw(s: BoundarySettings, done: Parts, folder: Path) -> None:
    """Write both pictures."""
    _planes(s, done, folder / "planes.png")
    _by_correlation(s, done, folder / "correlation.png")


def _planes(s: BoundarySettings, done: Parts, path: Path) -> None:
    """Both boundaries and the region of predicted agreement, a row per slope and a column per plane."""
    figure = new_figure(9, 4.3 * len(s.slopes) + 0.3)
    grid = figure.subplots(len(s.slopes), len(PLANES), squeeze=False)
    for i, slope in enumerate(s.slopes):
        kept = done[f"plane-{i}"]
        for axes, (name, across) in zip(grid[i], PLANES.items(), strict=True):
            first, second, region = (kept.arrays[f"{name}/{key}"].numpy() for key in ("first", "second", "dominated"))
            share = kept.values["agree"][name]
            plain(axes, f"γ {slope:g}, agreement {share:.2f} in this plane", "along q", across)
            axes.grid(visible=False)
            extent = (-1.5, 1.5, -1.5, 1.5)
            differ = (first > 0) != (second > 0)
            axes.contourf(region, levels=[0.5, 2], colors=[COLOURS["second"]], alpha=0.13, extent=extent)
            axes.contourf(
                differ.astype(float), levels=[0.5, 2], colors=[COLOURS["gaussian"]], alpha=0.22, extent=extent
            )
            for values, colour in ((first, "own"), (second, "shuffled")):
                axes.contour(values, levels=[0.0], colors=[COLOURS[colour]], linewidths=1.8, extent=extent)
            here, there = kept.arrays[f"{name}/below"], kept.arrays[f"{name}/perturbed"]
            positive = kept.arrays["targets"] > 0
            for group, marker in ((positive, "^"), (~positive, "v")):
                axes.plot(here[group, 0], here[group, 1], marker, color=MUTED, markersize=3, linewidth=0)
                axes.plot(there[group, 0], there[group, 1], marker, color=INK, markersize=3, linewidth=0)
            if name == "sample":
                shown = there[int(kept.values["sample"])]
                axes.plot(*shown.tolist(), "o", color=INK, markersize=9, fillstyle="none")
            axes.set_xlim(-1.5, 1.5)
            axes.set_ylim(-1.5, 1.5)
            axes.set_aspect("equal")
    figure.text(
        0.01,
        0.005,
        "blue: boundary of the first network; red: of the second. Green: region of predicted agreement; orange: they "
        "differ.\n▲ ▼: samples by their target, grey before and black after they are perturbed; the ring is the sample "
        "of the plane. Unit: mean norm of the samples.",
        color=MUTED,
        size=8.5,
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    save(figure, path)


def _by_correlation(s: BoundarySettings, done: Parts, path: Path) -> None:
    figure = new_figure(8.2, 4)
    axes = plain(figure.subplots(), "", "correlation with one sample of wrong target", "exceptions")
    for setting, colour in zip(ends(s), ("own", "second", "third", "gaussian", "shuffled"), strict=False):
        found = [correlated(s, done, setting, c) for c in s.correlations]
        axes.plot(
            s.correlations,
            [row.ours or 0 for row in found],
            "o-",
            color=COLOURS[colour],
            markersize=4,
            label=setting.name,
        )
    axes.axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.02, 1))
    save(figure, path)
