"""Figure 4: contour map of what combinations of a perturbation's two components do to a layer and to the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...attacks import pgd
from ...maps import LinearMap
from ...networks import Network, front, harmless, layers
from ...subspaces import Subspace
from ..common.features import cut
from ..common.intervals import of_mean, of_share
from ..common.models import Preset, Report, images, subject
from ..common.pictures import INK, MUTED, new_figure, pixels, save, signed
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, about
from .contours import CONTROLS, EDGE, MAPPED, PARALLEL, ULP, Pair, Read, deviations, directions, examined, grids

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LAST, FIRST, WHOLE = "last linear layer", "first layer", "whole network"
ROUNDING = 100.0
"""Times the effect of one ulp in what is perturbed up to which a difference is called rounding; to project and to apply
the layer takes sums of hundreds of terms."""


@dataclass(frozen=True)
class Contour(Settings):
    """Settings of figure 4.

    Attributes:
        network: built-in, or one of the paper's.
        count: perturbations, one an image.
        steps: of PGD with ε = 8/255, which makes them; on features, what it changes there.
        orthogonal: lengths α of the orthogonal component, in norms of the perturbation; 1 is among them.
        parallel: lengths β of the parallel one; 0 is among them.
        fine: points of the map along each axis, an odd number.
    """

    network: str = "resnet18-ten"
    count: int = 50
    steps: int = 20
    orthogonal: tuple[float, ...] = (-2, -1, 0, 1, 2)
    parallel: tuple[float, ...] = (-16, -8, 0, 8, 16)
    fine: int = 25


def settings(preset: Preset, seed: int) -> Contour:
    """Of a preset; smoke has the shipped network."""
    if preset == "smoke":
        return Contour(preset, seed, "cifar-resnet", 2, 3, (-1, 0, 1), (-16, 0, 16), 5)
    return Contour(preset, seed) if preset == "cpu" else Contour(preset, seed, "resnet50-ten", 1000)


def parts(s: Contour) -> list[Part]:
    """The paper's layer, and the first one with all that follows it."""
    return [Part("last", lambda report: _last(s, report)), Part("first", lambda report: _first(s, report))]


def _attacked(s: Contour, network: Network) -> tuple[Tensor, Tensor]:
    """Images and the perturbations of PGD, float64."""
    chosen = images("cifar10", s.preset, s.count)
    x, y = chosen.tensor(), chosen.targets()
    found = pgd(network.module, x, y, steps=s.steps, step_size=1 / 255, generator=s.generator("attack"))
    return x.double(), found.perturbation.double()


def _last(s: Contour, report: Report) -> Kept:
    """The last linear layer, on what the attack changes of the features it reads."""
    network = subject(s.network, s.preset, report)
    x, delta = _attacked(s, network)
    halves = cut(network, layers(network)[-1].name)
    before, after = (halves.head.outputs(images, torch.float64) for images in (x, x + delta))
    layer, space = front(halves.tail), harmless(halves.tail)
    changes = after - before
    pairs = [(torch.zeros_like(change[None]), change[None]) for change in changes]
    report(0, 1, LAST)
    arrays = _level(s, LAST, space, layer, layer.forward, pairs)
    arrays[f"{LAST}, directions"] = directions(space, layer, changes)
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _first(s: Contour, report: Report) -> Kept:
    """The first layer, and the network's outputs, on the attack's perturbations."""
    network = subject(s.network, s.preset, report)
    x, delta = _attacked(s, network)
    layer, space = front(network), harmless(network)
    pairs = [(image[None], change[None]) for image, change in zip(x, delta, strict=True)]
    alone = [(torch.zeros_like(image), change) for image, change in pairs]
    report(0, 2, FIRST)
    arrays = _level(s, FIRST, space, layer, lambda v: layer.forward(v).flatten(1), alone)
    arrays[f"{FIRST}, directions"] = directions(space, layer, delta)
    report(1, 2, WHOLE)
    arrays |= _level(s, WHOLE, space, layer, lambda v: network.outputs(v, torch.float64), pairs)
    arrays |= _own(s, network, space, layer, pairs) | {"image": x[:1]}
    return Kept({"network": about(network), "dim": space.dim, "sigma": space.certificate.sigma_above}, arrays)


def _level(
    s: Contour, level: str, space: Subspace, layer: LinearMap, read: Read, pairs: list[Pair]
) -> dict[str, Tensor]:
    found = examined(space, layer, read, pairs, _lengths(s), s.fine, s.generator(level))
    return {f"{level}, {name}": values for name, values in found.items()}


def _lengths(s: Contour) -> tuple[Tensor, Tensor]:
    return torch.tensor(s.orthogonal, dtype=torch.float64), torch.tensor(s.parallel, dtype=torch.float64)


def _own(s: Contour, network: Network, space: Subspace, layer: LinearMap, pairs: list[Pair]) -> dict[str, Tensor]:
    """In the model's own precision: the difference within a row, and rows of more than one label, each ``(N,)``."""
    alpha, beta = _lengths(s)
    within, labels = [], []
    for base, change in pairs:
        grid = grids(space, layer, change, {}, change.norm() * alpha, change.norm() * beta)[PARALLEL]
        outputs = network.outputs((base[None] + grid).flatten(0, 1)).view(*grid.shape[:2], -1)
        changes = outputs.double() - network.outputs(base).double()
        within.append(deviations(changes, alpha, changes[0, 0])[0])
        labels.append(int((outputs.argmax(2) != outputs.argmax(2)[:, :1]).any(1).sum()))
    return {f"{WHOLE}, float32": torch.tensor(within), f"{WHOLE}, labels": torch.tensor(labels)}


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
    """Share of rows with more than one label, and its interval."""
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
    """The paper's layer, and the whole network, each beside its control."""
    a = _arrays(done)
    thumbnails = {name: [[_vector(v) for v in row] for row in a[f"{LAST}, {name} thumbnails"]] for name in MAPPED}
    _maps(s, a, LAST, thumbnails, "‖A δ‖, logits", folder / "fig4.png")
    images = {name: list(map(list, a["image"][None] + a[f"{WHOLE}, {name} thumbnails"])) for name in MAPPED}
    _maps(s, a, WHOLE, images, "change of the logits", folder / "fig4-network.png")


def _vector(v: Tensor) -> Tensor:
    """A perturbation of features ``(n,)`` as a picture twice as wide as high, or nearly."""
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
    """The map, and the perturbations it is the map of, in their places."""
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


EXPERIMENT: Experiment[Contour] = Experiment(
    name="fig4",
    title="contour map of the effect of any perturbation",
    source="figure 4, section 4.2",
    question=(
        "What does a perturbation do when its two components are scaled each on its own? Rows share the orthogonal "
        "component, columns the parallel one. The paper shows the last linear layer; here what PGD-20 changes of the "
        "features is taken apart there, and its perturbation of the image at the first layer and for the whole "
        "network. Differences are relative to the largest output of the grid."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
