"""Figure 4: rows, claims and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..common.intervals import of_mean, of_share
from ..common.pictures import INK, MUTED, new_figure, pixels, save, signed
from ..experiment import Claim, Row
from ..parts import Parts
from .measure import CONTROLS, EDGE, MAPPED, PARALLEL, ULP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from .settings import FIRST, LAST, WHOLE, Contour

ROUNDING = 100.0
"""Multiple of the effect of one ulp up to which a difference is attributed to rounding: the projection and the layer
sum hundreds of terms.
"""


def rows(s: Contour, done: Parts) -> list[Row]:
    """Theorem 4, lemma 5 and lemma 6, each at the levels where they are claimed."""
    a, made = _arrays(done), []
    for level in (LAST, FIRST, WHOLE):
        flat, off = a[f"{level}, {PARALLEL}"].amax(0).tolist()
        floor = f"rounding; one ulp in what is perturbed makes {float(a[f'{level}, {ULP}'].max()):.1e}"
        paper = None if level == WHOLE else 0.0
        made += [
            Row(level, "largest difference within a row", flat, 0.0, reason=floor, form=".1e"),
            Row(level, "largest deviation from proportional", off, paper, reason=_BEYOND.get(level, ""), form=".2g"),
        ]
    within = float(a[f"{WHOLE}, float32"].max())
    made.append(Row(WHOLE, "largest difference within a row, float32", within, 0.0, reason="rounding", form=".1e"))
    share = of_rows(s, a)
    made.append(Row(WHOLE, "rows of more than one label, float32", share[0], 0.0, share[1], form=".2%"))
    for part, level in (("last", LAST), ("first", FIRST)):
        least, sigma = float(a[f"{level}, directions"].min()), done[part].values["sigma"]
        reason = f"lemma 6: at least the smallest singular value, {sigma:.3g}"
        made.append(Row(level, "least ‖A u − A v‖ / ‖u − v‖ of two directions", least, reason=reason))
    for level in (LAST, FIRST, WHOLE):
        for name in CONTROLS:
            values = a[f"{level}, {name}"][:, 0]
            case = f"{level}, {name} for parallel"
            mean, interval = float(values.mean()), of_mean(values)
            made.append(Row(case, "difference within a row, mean", mean, None, interval, True))
    return made


_BEYOND = {WHOLE: "no claim of the paper's: the layers that follow are not linear"}


def of_rows(s: Contour, a: dict[str, Tensor]) -> tuple[float, tuple[float, float]]:
    """The share of rows with several labels, and its interval."""
    labels = a[f"{WHOLE}, labels"]
    count, of = int(labels.sum()), len(labels) * len(s.orthogonal)
    return count / of, of_share(count, of)


def _arrays(done: Parts) -> dict[str, Tensor]:
    return {**done["last"].arrays, **done["first"].arrays}


def claims(s: Contour, done: Parts) -> list[Claim]:
    """Rows are flat everywhere, proportional up to the first non-linearity, and flat for this subspace alone."""
    a, made = _arrays(done), []
    for level in (LAST, FIRST, WHOLE):
        flat, off = a[f"{level}, {PARALLEL}"].amax(0).tolist()
        floor = float(a[f"{level}, {ULP}"].max())
        others = min(float(a[f"{level}, {name}"][:, 0].min()) for name in CONTROLS)
        made.append(
            Claim(
                f"{level}: outputs in a row differ by {flat:.1e} of the largest (one ulp makes {floor:.1e}); with "
                f"another component of that length by {others:.2g} at least",
                flat <= ROUNDING * floor < others,
            )
        )
        if level != WHOLE:
            text = f"{level}: rows are proportional to {off:.1e} (lemma 5)"
            made.append(Claim(text, off <= ROUNDING * floor))
    for part, level in (("last", LAST), ("first", FIRST)):
        least, sigma = float(a[f"{level}, directions"].min()), float(done[part].values["sigma"])
        text = f"{level}: different directions differ in effect by {least:.3g} of their distance or more (lemma 6)"
        made.append(Claim(f"{text}, which cannot be less than {sigma:.3g}", least >= sigma > 0))
    off = float(a[f"{WHOLE}, {PARALLEL}"][:, 1].min())
    made.append(Claim(f"{WHOLE}: rows are equal, but not proportional: off by {off:.1%} or more", off > 1e-6))
    return made


def draw(s: Contour, done: Parts, folder: Path) -> None:
    """The paper's layer and the whole network, each beside its control."""
    a = _arrays(done)
    thumbnails = {name: [[_vector(v) for v in row] for row in a[f"{LAST}, {name} thumbnails"]] for name in MAPPED}
    _maps(s, a, LAST, thumbnails, "‖A δ‖, logits", folder / "fig4.png")
    images = {name: list(map(list, a["image"][None] + a[f"{WHOLE}, {name} thumbnails"])) for name in MAPPED}
    _maps(s, a, WHOLE, images, "change of the logits", folder / "fig4-network.png")


def _vector(v: Tensor) -> Tensor:
    """A perturbation of features ``(n,)`` as a picture about twice as wide as high."""
    height = max(h for h in range(1, int((v.numel() / 2) ** 0.5) + 1) if v.numel() % h == 0)
    return signed(v.view(1, height, -1))


def _maps(
    s: Contour, a: dict[str, Tensor], level: str, thumbnails: dict[str, list[list[Tensor]]], what: str, path: Path
) -> None:
    figure = new_figure(12.5, 6)
    largest = float(a[f"{level}, {PARALLEL} map"].max())
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.16, right=0.9)
    for axes, name in zip(panels, MAPPED, strict=True):
        _panel(axes, s, a[f"{level}, {name} map"], thumbnails[name], largest)
        second = "the parallel component" if name == PARALLEL else "a direction of a random subspace"
        axes.set_title(f"{level}, {second} across", loc="left", color=INK, size=11, pad=9)
        axes.set_xlabel(f"β, length of {second}", color=MUTED, size=10)
    panels[0].set_ylabel("α, length of the orthogonal component", color=MUTED, size=10)
    bar = figure.colorbar(panels[0].collections[0], cax=figure.add_axes((0.92, 0.11, 0.012, 0.77)), format="%.3g")
    bar.set_label(what, color=MUTED, size=10)
    bar.ax.tick_params(colors=MUTED, labelsize=9, length=0)
    bar.outline.set_visible(False)
    save(figure, path)


def _panel(axes: Axes, s: Contour, effects: Tensor, thumbnails: list[list[Tensor]], largest: float) -> None:
    """The map, and the perturbations at the points of the coarse grid."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    y, x = (EDGE * torch.linspace(v[0], v[-1], s.fine).numpy() for v in (s.orthogonal, s.parallel))
    levels = torch.linspace(0, largest, 13).tolist()
    axes.contourf(x, y, effects.numpy(), levels=levels, cmap="YlGnBu", extend="max")
    axes.contour(x, y, effects.numpy(), levels=levels, colors="white", linewidths=0.8)
    for alpha, row in zip(s.orthogonal, thumbnails, strict=True):
        for beta, image in zip(s.parallel, row, strict=True):
            zoom = 42 / max(image.shape)
            picture = OffsetImage(pixels(image).numpy(), zoom=zoom, interpolation="nearest")
            axes.add_artist(AnnotationBbox(picture, (beta, alpha), frameon=True, pad=0.1, bboxprops={"linewidth": 0}))
    axes.set_xticks(s.parallel)
    axes.set_yticks(s.orthogonal)
    axes.tick_params(colors=MUTED, labelsize=9, length=0, pad=5)
    axes.set_frame_on(False)
