"""Blackbox: success against queries, and measured against predicted ratios."""

from __future__ import annotations

from pathlib import Path

import torch

from ..common.pictures import COLOURS, INK, MUTED, Line, new_figure, plain, plot, save
from ..parts import Parts
from .queries import described, needed, predicted, ratio
from .settings import CONTROLS, KINDS, Blackbox, kinds_of, part_name, victims

STYLE = {
    "unconfined": "gaussian",
    "effective": "own",
    "guessed": "third",
    "low frequencies": "second",
    "random subspace": "control",
    "permuted": "shuffled",
    "harmless": "paper",
}


def curves(s: Blackbox, done: Parts, attack: str, path: Path) -> None:
    """Success against queries, one chart per network."""
    kinds = [kind for kind in KINDS[attack] if kind in STYLE]
    names = victims(s)
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    figure = new_figure(7.4 * columns, 3.7 * lines)
    grid = figure.subplots(lines, columns, squeeze=False)
    figure.subplots_adjust(wspace=0.95, hspace=0.5)
    budgets = torch.logspace(0, torch.tensor(s.queries).log10().item(), 16).tolist()
    for index, axes in enumerate(grid.flat):
        if index >= len(names):
            axes.axis("off")
            continue
        name = names[index]
        plain(axes, name, "queries", "success")
        axes.set_xscale("log")
        axes.set_ylim(-0.03, 1.03)
        drawn = []
        for kind in kinds_of(name, kinds):
            kept = done[part_name(name, attack, kind)]
            x = [q for q in budgets if q <= kept.values["most"]]
            found = needed(kept, 10 * s.queries)
            y = [float((found <= q).double().mean()) for q in x]
            drawn.append(Line(described(name, kind, kept), x, y, STYLE[kind], kind in CONTROLS))
        plot(axes, drawn, apart=0.075)
    save(figure, path)


MARKERS = "oDs^v"
"""Markers of the networks."""


def measured(s: Blackbox, done: Parts, path: Path) -> None:
    """SimBA's queries, as a share of those unconfined, against the prediction."""
    figure = new_figure(6.4, 5.2)
    axes = plain(figure.subplots(), "", "predicted, √(d / (n e))", "measured, SimBA's queries of unconfined")
    axes.plot([0.2, 1.15], [0.2, 1.15], color=MUTED, linewidth=1)
    kinds = [kind for kind in STYLE if kind not in ("unconfined", "harmless")]
    for name, marker in zip(victims(s), MARKERS, strict=False):
        axes.scatter([], [], color=MUTED, marker=marker, label=name)
        for kind in kinds:
            part = part_name(name, "simba", kind)
            expected = predicted(done[part]) if part in done else None
            if expected is None:
                continue
            value, interval = ratio(s, done, name, "simba", kind)
            bars = None if interval is None else [[max(value - interval[0], 0)], [max(interval[1] - value, 0)]]
            axes.errorbar([expected], [value], bars, fmt=marker, color=COLOURS[STYLE[kind]], capsize=3, alpha=0.8)
    for kind in kinds:
        axes.plot([], [], color=COLOURS[STYLE[kind]], linewidth=4, label=kind)
    axes.legend(frameon=False, fontsize=9, loc="lower right", labelcolor=INK)
    save(figure, path)
