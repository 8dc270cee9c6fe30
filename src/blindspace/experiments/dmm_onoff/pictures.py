"""On and off the manifold: the picture."""

from __future__ import annotations

from math import inf, sqrt
from pathlib import Path

from ..common.pictures import COLOURS, INK, new_figure, plain, save
from ..parts import Parts
from .found import found
from .settings import ANOTHER, PCA, RANDOM, TANGENT, OnOffSettings


def draw(s: OnOffSettings, done: Parts, folder: Path) -> None:
    """The laws: ratios of norms against the share; and the share over chance of every network."""
    every = found(s, done)
    figure = new_figure(16, 4.6)
    on, off, gap, over = figure.subplots(1, 4, width_ratios=[1, 1, 0.3, 1.2])
    gap.axis("off")  # room for the names
    figure.subplots_adjust(wspace=0.35)
    for axes, way, law in ((on, "on", "1/√share"), (off, "off", "1/√(1 − share)")):
        plain(axes, f"{way} / plain against {law}", law, f"{way} / plain")
        if way == "on":
            axes.set_xscale("log")
            axes.set_yscale("log")
        ends = [1.0, 1.0]
        for adversarial, colour in ((False, "own"), (True, "gaussian")):
            points = []
            for group in every:
                for space in group.spaces if group.case.adversarial == adversarial else ():
                    part = group.share(space)
                    predicted = 1 / sqrt(max(part if way == "on" else 1 - part, 1e-12))
                    measured = predicted * (1 + group.excess(space, way))
                    if measured < inf:
                        points.append((predicted, measured))
            if points:
                across, up = zip(*points, strict=True)
                label = "adversarially trained" if adversarial else "standard"
                axes.scatter(across, up, s=14, color=COLOURS[colour], alpha=0.7, label=label)
                ends = [1.0, max(ends[1], *across, *up)]
        axes.plot(ends, ends, "-", color=INK, linewidth=1)
        axes.legend(frameon=False, fontsize=9)
    plain(over, "share of the gradient over chance", "", "")
    names = [group.name for group in every]
    for space, colour in ((TANGENT, "own"), (ANOTHER, "shuffled"), (PCA, "second"), (RANDOM, "control")):
        over.scatter(
            [group.share(space) / group.chance(space) for group in every],
            range(len(every)),
            s=22,
            color=COLOURS[colour],
            label=space,
        )
    over.axvline(1, color=INK, linewidth=1)
    over.set_xscale("log")
    over.set_yticks(range(len(every)), names, fontsize=7)
    over.invert_yaxis()
    over.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save(figure, folder / "onoff.png")
