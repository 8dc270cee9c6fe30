"""Artificial data: the picture."""

from __future__ import annotations

from pathlib import Path

from ..common.pictures import COLOURS, Line, new_figure, plain, plot, save
from ..parts import Parts
from .found import sweep
from .settings import NORMS, PUBLISHED, SWEEPS, WRITTEN, ArtificialSettings

COLOUR = {"l2": "own", "linf": "second", "l0": "third", "none": "control"}


def draw(s: ArtificialSettings, done: Parts, folder: Path) -> None:
    """Accuracy along every sweep, the published one dotted."""
    figure = new_figure(13, 3.6)
    for axes, of in zip(figure.subplots(1, len(SWEEPS), sharey=True), SWEEPS, strict=True):
        values = list(s.sweep(of))
        word = "ε, over the paper's" if of == "ε" else of
        plain(axes, xlabel=word, ylabel="accuracy on natural samples" if of == "d" else "")
        axes.set_xscale("log")
        axes.set_ylim(0.4, 1.02)
        axes.set_xlim(values[0] * 0.9, values[-1] * (values[-1] / values[0]) ** 0.35)
        lines = []
        for norm in (*NORMS, "none"):
            found = [sweep(s, done, of, value, norm) for value in values]
            bands = [each.interval or (each.value, each.value) for each in found]
            lines.append(
                Line(
                    WRITTEN.get(norm, "pure noise"),
                    values,
                    [each.value for each in found],
                    COLOUR[norm],
                    norm == "none",
                    ([low for low, _ in bands], [high for _, high in bands]),
                )
            )
        axes.set_xticks(values, [f"{value:g}" for value in values], rotation=45)
        plot(axes, lines, apart=0.07)
        published = PUBLISHED.get((of, "l2"), {})
        largest = {"d": s.base.dim, "N": s.base.count}.get(of, 1.0)
        if s.preset != "smoke" and published:
            places = [value for value in values if value / largest in published]
            axes.plot(
                places, [published[value / largest] for value in places], "x", color=COLOURS["paper"], markersize=6
            )
    figure.tight_layout()
    save(figure, folder / "artificial.png")
