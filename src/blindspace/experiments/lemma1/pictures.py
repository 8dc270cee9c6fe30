"""Lemma 1: how large perturbations are through every layer, and what they look like."""

from __future__ import annotations

from pathlib import Path

from ..common.pictures import COLOURS, INK, gallery, legend_below, named_rows, new_figure, plain, save, signed
from ..parts import Parts
from .found import FoundLayer, found
from .settings import ANY, BEYOND, Lemma1

SHOWN = 6
"""Layers in the gallery, spread over the depth of a network."""


def draw(s: Lemma1, done: Parts, folder: Path) -> None:
    """Sizes layer by layer; and one image per network under perturbations through layers of growing depth."""
    every = found(s, done)
    names = list(dict.fromkeys(layer.case.name for layer in every))
    by_name = {name: [layer for layer in every if layer.case.name == name] for name in names}
    _sizes(s, by_name, folder / "sizes.png")
    for name, layers in by_name.items():
        _look(name, layers, folder / f"look-{name.lower()}.png")


def _sizes(s: Lemma1, by_name: dict[str, list[FoundLayer]], path: Path) -> None:
    tallest = max(map(len, by_name.values()))
    figure = new_figure(5.2 * len(by_name), 0.26 * tallest + 1.5)
    panels = figure.subplots(1, len(by_name), squeeze=False)[0]
    figure.subplots_adjust(wspace=0.75)
    for axes, (name, layers) in zip(panels, by_name.items(), strict=True):
        plain(axes, name, "‖δ‖ / ‖x‖, least of the images", "")
        for shift, (way, colour) in zip((-0.18, 0.18), ((ANY, "own"), (BEYOND, "second")), strict=True):
            sizes = [float(layer.sizes(way).min()) for layer in layers]
            label = "anywhere" if way == ANY else "outside the nullspace of the front"
            axes.barh([i + shift for i in range(len(sizes))], sizes, 0.34, color=COLOURS[colour], label=label)
        axes.axvline(s.size, color=INK, linewidth=1)
        named_rows(axes, [_short(layer.kept.values["layer"]) for layer in layers])
        axes.tick_params(axis="y", labelsize=7)
    legend_below(figure, 2)
    save(figure, path)


def _short(layer: str, most: int = 28) -> str:
    return layer if len(layer) <= most else f"…{layer[-most:]}"


def _look(name: str, layers: list[FoundLayer], path: Path) -> None:
    some = [layer for layer in layers if bool(layer.done(BEYOND)[0])] or layers
    steps = max(len(some) - 1, 1) / max(min(SHOWN, len(some)) - 1, 1)
    chosen = list(dict.fromkeys(min(round(i * steps), len(some) - 1) for i in range(min(SHOWN, len(some)))))
    images, captions = [], []
    for layer in (some[i] for i in chosen):
        x = layer.kept.arrays["image"]
        changed = layer.of(BEYOND, "image")
        images.append([x, changed, signed(changed - x)])
        size, moved = float(layer.of(BEYOND, "size")[0]), float(layer.of(BEYOND, "output_change")[0])
        captions.append([_short(layer.kept.values["layer"], 22), f"outputs change by {moved:.0e}", f"{size:.2f} ‖x‖"])
    gallery(path, images, ["image", "perturbed", "perturbation"], captions, side=1.6)
