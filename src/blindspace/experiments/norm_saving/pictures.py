"""Norm-saving: pictures."""

from __future__ import annotations

from pathlib import Path

from ..common.intervals import of_share
from ..common.pictures import COLOURS, INK, MUTED, Line, gallery, new_figure, plain, plot, save, signed
from ..common.victims import ROBUST
from ..parts import Parts
from .found import attacks, called
from .settings import CUTS, KINDS, VIT, NormSaving, part_name


def draw(s: NormSaving, done: Parts, folder: Path) -> None:
    """Shares as bars, success of confined attacks, and perturbations split in two."""
    _bars(s, done, folder / "norm-saving.png")
    _curves(s, done, folder / "confined.png")
    _parts(s, done, folder / "parts.png")


_MOVED = {"gradient": "own", "sign": "gaussian", "search": "third"}


def _bars(s: NormSaving, done: Parts, path: Path) -> None:
    found = list(attacks(s, done))
    names = list(dict.fromkeys(each.name for each in found))
    ways = list(dict.fromkeys(each.way.name for each in found))
    figure = new_figure(2.2 + 1.8 * len(names), 0.6 + 0.28 * len(ways))
    grid = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(grid, names, strict=True):
        plain(axes, _SHORT.get(name, name))
        axes.title.set_size(9)
        axes.grid(visible=False)
        here = [each for each in found if each.name == name]
        level = here[0].kept.values["dim"] / here[0].kept.values["n"]
        for each in here:
            at, mean = ways.index(each.way.name), float(each.share.mean()) if len(each.share) else 0.0
            axes.barh(at, mean, 0.62, color=COLOURS[_MOVED[each.way.moved]])
            words = f"{mean:.1%}" if mean >= 5e-4 else f"{mean:.0e}"
            words = words if len(each.share) else "no success"
            axes.text(mean + 0.02 * level, at, words, va="center", size=7.5, color=MUTED)
        axes.axvline(level, color=COLOURS["control"], linestyle="--", linewidth=1.2)
        axes.text(level, -0.9, f"dim/n {level:.0%}", ha="right", va="center", size=7.5, color=COLOURS["control"])
        axes.set_xlim(0, 1.08 * level)
        axes.set_xticks([])
    grid[0].set_yticks(range(len(ways)), ways, color=INK)
    grid[0].set_ylim(len(ways) - 0.4, -1.4)
    legend = {"gradient": "along gradients", "sign": "along their signs", "search": "search without gradients"}
    for index, (moved, word) in enumerate(legend.items()):
        grid[0].text(0, len(ways) + 0.2 + 0.8 * index, f"■ {word}", color=COLOURS[_MOVED[moved]], size=9)
    grid[0].text(0, len(ways) + 2.6, "harmless share of ‖δ‖²; dashed: of Gaussian noise", color=MUTED, size=9)
    save(figure, path)


_SHORT = {
    "cifar-resnet@96": "cifar-resnet\nbehind a resize",
    VIT: "ViT,\nrandom weights",
    ROBUST: "ViT\nibp_3_3_8",
    **{layer: f"ResNet-18 features,\n{layer}" for layer in CUTS},
}
_WORDS = dict(
    zip(KINDS, ("unconfined", "in the effective space", "in a random subspace", "in the harmless space"), strict=True)
)


def _curves(s: NormSaving, done: Parts, path: Path) -> None:
    figure = new_figure(5.4 * len(s.confined), 3.4)
    figure.subplots_adjust(wspace=0.75)
    for axes, (name, _) in zip(figure.subplots(1, len(s.confined), squeeze=False)[0], s.confined, strict=True):
        plain(axes, called(name), "L2 budget, of 3·32·32 values", "attack success")
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        arrays, lines = done[part_name(name, "confined")].arrays, []
        for kind, colour in zip(KINDS, ("own", "second", "control", "shuffled"), strict=True):
            success = [arrays[f"{kind}|{budget}"] for budget in s.budgets]
            band = tuple(zip(*(of_share(int(x.sum()), len(x)) for x in success), strict=True))
            y = [float(x.double().mean()) for x in success]
            lines.append(
                Line(_WORDS[kind], s.budgets, y, colour, kind in ("random subspace", "harmless"), (band[0], band[1]))
            )
        plot(axes, lines, apart=0.08)
    save(figure, path)


def _parts(s: NormSaving, done: Parts, path: Path) -> None:
    """The first image of each network, by attack: the perturbation and its two parts."""
    shown, captions = [], []
    for found in attacks(s, done):
        if found.way.name not in ("FGSM", "PGD-20 L2", "Square L∞") or found.name not in _PICTURED:
            continue
        delta, harmless = found.of("delta"), found.of("harmless")
        image, share = found.kept.arrays["x"], float(found.of("share")[0])
        shown.append([image + delta, *map(signed, (delta, harmless, delta - harmless))])
        sizes = [float(v.norm()) for v in (delta, harmless, delta - harmless)]
        label = f"{found.way.name}\n{_PICTURED[found.name]}"
        captions.append([label, f"‖δ‖ = {sizes[0]:.2f}", f"{sizes[1]:.2f}, {share:.1%} of ‖δ‖²", f"{sizes[2]:.2f}"])
    gallery(path, shown, ("attacked", "perturbation δ", "harmless part", "the rest, δ⊥"), captions, side=1.5)


_PICTURED = {"cifar-resnet": "cifar-resnet", "cifar-resnet@96": "behind a resize"}
