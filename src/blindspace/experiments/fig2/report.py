"""Figure 2: dimension of the harmless subspace of the first layer against the size of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...data import ImageSet
from ...errors import FileError
from ...networks.paper_networks import SHAPES, Stem, convolutional, mlp5
from ..common.dimensions import at_most, error, in_words, measured, singular_values, verdict
from ..common.models import NAMED, Preset, Report, images
from ..common.pictures import COLOURS, INK, MUTED, new_figure, plain, save
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, seed_of
from .training import train_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETS = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "svhn": "SVHN"}
FLOAT32 = torch.finfo(torch.float32).eps
Sweep = tuple[tuple[str, int, int, tuple[int, ...]], ...]
Widths = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Fig2(Settings):
    """Settings of figure 2.

    Attributes:
        convolutions: architecture, size and stride of the first layer's kernels, their numbers C_out; padding 1.
        widths: data set, and the numbers of neurons N_out of the first layer of MLP-5.
        steps: of training, for the convolutional networks.
        mlp_steps: the same for MLP-5.
        batch: images a step.
        samples: training images that are used; all if None.
        checked: points at which all singular values are worked out besides.
        missing: data sets that are not here, and what to do about it.
    """

    convolutions: Sweep = ()
    widths: Widths = ()
    steps: int = 20
    mlp_steps: int = 100
    batch: int = 128
    samples: int | None = None
    checked: tuple[str, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def settings(preset: Preset, seed: int) -> Fig2:
    """Of a preset."""
    if preset == "smoke":
        few: Sweep = (("resnet18", 3, 2, (6, 10, 13)),)
        return Fig2(preset, seed, few, (("mnist", (392, 784, 980)),), 1, 1, 20, 20, ("mlp5-mnist-784",))
    thirds, fifths, plenty = (2, 6, 9, 11, 12, 13, 16), (8, 24, 40, 47, 48, 49, 56), preset == "paper"
    sweep: Sweep = (
        *((name, 3, 2, tuple(range(1, 17)) if plenty else thirds) for name in ("resnet18", "resnet50", "efficientnet")),
        ("resnet18", 5, 4, tuple(range(4, 65, 4)) if plenty else fifths),
        ("vgg16", 3, 1, (1, 2, 3, 4, 6)),
    )
    pixels = (384, 1152, 1920, 2688, 3072, 3456)
    widths: Widths = (("mnist", (98, 294, 490, 686, 784, 882)), *((name, pixels) for name in list(SETS)[1:]))
    checked = ("resnet18-3-2-11", "resnet18-3-2-12", "resnet18-3-2-13", "resnet18-5-4-48", "vgg16-3-1-3")
    return Fig2(
        preset,
        seed,
        sweep,
        widths,
        steps=60 * 390 if plenty else 20,
        mlp_steps=60 * 390 if plenty else 100,
        samples=None if plenty else 12_800,
        checked=(*checked, "mlp5-mnist-784", "mlp5-cifar10-384"),
        missing=_missing(preset),
    )


def _missing(preset: Preset) -> dict[str, str]:
    """The data sets that cannot be fetched, where they have not been put by hand."""
    found = {}
    for name in ("cifar100", "svhn"):
        try:
            images(name, preset, 1, "train")
        except FileError as error:
            found[name] = str(error).replace(str(Path.home()), "~")
    return found


@dataclass(frozen=True)
class Point:
    """One network of the sweep: its first layer has ``width`` kernels or neurons."""

    part: str
    family: str
    width: int
    dataset: str
    build: Callable[[], nn.Module]
    steps: int


def points(s: Fig2) -> list[Point]:
    """All networks of the sweep whose data set is here."""
    made = []
    for name, size, stride, widths in s.convolutions:
        family = f"{NAMED[name]}, K {size}, S {stride}"
        for width in widths:
            build = partial(convolutional, name, "cifar10", Stem(width, size, stride, 1))
            made.append(Point(f"{name}-{size}-{stride}-{width}", family, width, "cifar10", build, s.steps))
    for dataset, widths in s.widths:
        for width in widths if dataset not in s.missing else ():
            family, build_mlp = f"MLP-5, {SETS[dataset]}", partial(mlp5, dataset, width)
            made.append(Point(f"mlp5-{dataset}-{width}", family, width, dataset, build_mlp, s.mlp_steps))
    return made


def parts(s: Fig2) -> list[Part]:
    """One a point of the sweep, and the controls."""
    return [
        *(Part(point.part, partial(_measure, s, point)) for point in points(s)),
        Part("controls", lambda report: _controls(s)),
    ]


def _measure(s: Fig2, point: Point, report: Report) -> Kept:
    """The first layer before training and after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(s.seed, point.part))
        network = point.build()
        layer = next(module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))
        shape = SHAPES[point.dataset] if isinstance(layer, nn.Conv2d) else (prod(SHAPES[point.dataset]),)
        before, start = measured(layer, shape, point.part), layer.weight.detach().clone()
        loss = train_steps(network, _images(point.dataset, s.preset, s.samples), point.steps, s.batch, report)
    after = measured(layer, shape, point.part)
    moved = float((layer.weight.detach() - start).norm() / start.norm())
    values = {"before": before, "after": after, "moved": moved, "loss": loss}
    return Kept(values, {"sigma": singular_values(layer, shape)} if point.part in s.checked else {})


@cache
def _images(dataset: str, preset: Preset, count: int | None) -> ImageSet:
    return images(dataset, preset, count, "train")


def _controls(s: Fig2) -> Kept:
    """Layers whose kernels depend on one another, so that the corollary does not speak of them."""
    draw = s.generator("controls")
    conv, linear = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(784, 392)
    conv.weight = nn.Parameter(torch.randn(conv.weight.shape, generator=draw))
    linear.weight = nn.Parameter(torch.randn(linear.weight.shape, generator=draw))
    with torch.no_grad():
        conv.weight[7] = conv.weight[0]
        linear.weight[380:] = linear.weight[:12]
        dead = deepcopy(conv)
        dead.weight[6] = 0
    cases = (
        ("3→8 kernels, K 3, S 2, one of them twice", conv, (3, 32, 32), 3072 - 7 * 256),
        ("3→8 kernels, K 3, S 2, one twice and one zero", dead, (3, 32, 32), 3072 - 6 * 256),
        ("784→392 neurons, twelve of them twice", linear, (784,), 784 - 380),
    )
    return Kept(
        {"cases": [{**measured(layer, shape, name), "expected": dim} for name, layer, shape, dim in cases]},
    )


# --- what follows ------------------------------------------------------------------------------------------


def rows(s: Fig2, done: Parts) -> list[Row]:
    """Every point: the paper's n − m, the certified dimension after training, and the certificate."""
    made, more = [], []
    for point in points(s):
        kept = done[point.part]
        before, after = kept.values["before"], kept.values["after"]
        case = f"{point.family}, {'N_out' if 'MLP' in point.family else 'C_out'} {point.width}"
        mark = "" if verdict(after) == "right" else f"**{verdict(after)}**: "
        first = "the same" if _same(kept) else f"{before['dim']}, {in_words(before)}"
        reason = f"{mark}{in_words(after)}; random weights: {first}"
        made.append(Row(case, "dimension", after["dim"], after["formula_dim"], reason=reason))
        if "sigma" in kept.arrays:
            sigma, n = kept.arrays["sigma"], after["in_dim"]
            made.append(Row(case, "directions with σ ≤ 1.2e-7 σ_max", at_most(sigma, n, FLOAT32)))
            reason = "singular values of the dense matrix, at the usual tolerance"
            more.append(Row(case, "dimension by SVD", _by_svd(kept), after["formula_dim"], control=True, reason=reason))
    for dataset, widths in s.widths:
        if dataset in s.missing:
            case = f"MLP-5, {SETS[dataset]}, N_out {widths[0]} to {widths[-1]}"
            made.append(Row(case, "dimension", None, reason=f"not run: {s.missing[dataset]}"))
    for case in done["controls"].values["cases"]:
        reason = f"{case['expected']} by construction; n − m asks for independent kernels"
        more.append(Row(case["name"], "dimension", case["dim"], case["formula_dim"], control=True, reason=reason))
    return made + more


def _same(kept: Kept) -> bool:
    before, after = kept.values["before"], kept.values["after"]
    return bool(before["dim"] == after["dim"]) and verdict(before) == verdict(after)


def _by_svd(kept: Kept) -> int:
    after = kept.values["after"]
    tolerance = max(after["in_dim"], after["out_dim"]) * torch.finfo(torch.float64).eps
    return at_most(kept.arrays["sigma"], after["in_dim"], tolerance)


def claims(s: Fig2, done: Parts) -> list[Claim]:
    """A certificate at every point; the formula, training and an SVD beside it."""
    found = {point: done[point.part] for point in points(s)}
    certified = {point: kept for point, kept in found.items() if kept.values["after"]["certificate"]}
    proved = {p: kept for p, kept in certified.items() if verdict(kept.values["after"]) in ("right", "wrong")}
    marked = [f"{p.family}, {p.width}" for p, kept in certified.items() if verdict(kept.values["after"]) != "right"]
    right = [p for p, kept in proved.items() if error(kept.values["after"]) == 0]
    moved = [kept.values["moved"] for kept in found.values()]
    both = {p: kept for p, kept in proved.items() if verdict(kept.values["before"]) in ("right", "wrong")}
    stayed = [p for p, kept in both.items() if _same(kept)]
    checked = {p: kept for p, kept in proved.items() if "sigma" in kept.arrays}
    agree = [p for p, kept in checked.items() if _by_svd(kept) == kept.values["after"]["dim"]]
    controls = done["controls"].values["cases"]
    return [
        Claim(
            f"the dimension is certified at {len(certified)} of {len(found)} points: proved at {len(proved)}"
            + (f"; marked: {'; '.join(marked)}" if marked else ""),
            len(certified) == len(found),
        ),
        Claim(f"where it is proved, n − m is right at {len(right)} of {len(proved)} points", len(right) == len(proved)),
        Claim(
            f"training matters little: it moves the weights by {min(moved):.1%} to {max(moved):.1%}, the dimension is "
            f"that of the random weights at {len(stayed)} of {len(both)} points where both are proved",
            len(stayed) == len(both),
        ),
        Claim(f"an SVD finds the same dimension at {len(agree)} of {len(checked)} points", len(agree) == len(checked)),
        Claim(
            "where kernels repeat, the certified dimension is the one by construction in "
            f"{sum(case['dim'] == case['expected'] for case in controls)} of {len(controls)} layers, n − m in "
            f"{sum(case['formula_dim'] == case['expected'] for case in controls)}",
            all(case["dim"] == case["expected"] != case["formula_dim"] for case in controls),
        ),
    ]


def draw(s: Fig2, done: Parts, folder: Path) -> None:
    """A panel a sweep, the formula under the certified points; the smallest singular values near the crossing."""
    sweeps: dict[str, list[Point]] = {}
    for point in points(s):
        title = point.family if "MLP" in point.family else f"convolution, {point.family.split(', ', 1)[1]}, CIFAR-10"
        sweeps.setdefault(title, []).append(point)
    columns = 3
    lines = -(-(len(sweeps) + 1) // columns)
    axes = (figure := new_figure(4.3 * columns, 3.5 * lines)).subplots(lines, columns, squeeze=False).flatten()
    figure.subplots_adjust(hspace=0.45, wspace=0.3)
    for panel, (title, swept) in zip(axes, sweeps.items(), strict=False):
        _panel(plain(panel, title, "N_out" if "MLP" in title else "C_out", "dimension"), swept, done)
    _spectra(axes[len(sweeps)], s, done)
    for panel in axes[len(sweeps) + 1 :]:
        panel.axis("off")
    save(figure, folder / "fig2.png")


def _panel(axes: Axes, swept: Sequence[Point], done: Parts) -> None:
    """The networks of one sweep, each with a sign of its own; a ring where the formula is not proved right."""
    known = sorted({(point.width, done[point.part].values["after"]["formula_dim"]) for point in swept})
    axes.plot(*zip(*known, strict=True), "--", color=COLOURS["paper"], linewidth=1.5, label="n − m (paper)", zorder=1)
    axes.locator_params(axis="x", integer=True)
    families = list(dict.fromkeys(point.family for point in swept))
    for family, sign, colour in zip(families, "osD", ("own", "second", "third"), strict=False):
        of = [(point.width, done[point.part].values["after"]) for point in swept if point.family == family]
        x, y = zip(*((width, after["dim"]) for width, after in of), strict=True)
        size = 70 - 25 * families.index(family)
        axes.scatter(x, y, size, color=COLOURS[colour], marker=sign, label=f"{family.split(',')[0]}, certified")
        for width, after in of:
            if verdict(after) != "right":
                axes.scatter([width], [after["dim"]], 190, facecolors="none", edgecolors=COLOURS["shuffled"], zorder=3)
                axes.annotate(
                    f"{verdict(after)}: {after['dim']}",
                    (width, after["dim"]),
                    xytext=(6, 16 + 11 * families.index(family)),
                    textcoords="offset points",
                    size=8.5,
                    color=COLOURS["shuffled"],
                )
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def _spectra(axes: Axes, s: Fig2, done: Parts) -> None:
    """How the smallest singular values fall where the formula's answer comes to 0."""
    plain(axes, "smallest singular values, σ / σ_max", "of the smallest, the …th", "").set_yscale("log")
    for point, colour in zip([p for p in points(s) if p.part in s.checked], COLOURS.values(), strict=False):
        sigma = done[point.part].arrays["sigma"]
        smallest = sigma.flip(0)[:150] / sigma[0]
        axes.plot(range(1, len(smallest) + 1), smallest.tolist(), color=colour, label=f"{point.family}: {point.width}")
    axes.axhline(FLOAT32, color=MUTED, linewidth=1, linestyle=":")
    axes.annotate("rounding in float32", (0.98, FLOAT32), xycoords=("axes fraction", "data"), ha="right", size=8)
    axes.set_ylim(1e-16, 1)
    axes.legend(frameon=False, fontsize=7.5, labelcolor=INK)


EXPERIMENT: Experiment[Fig2] = Experiment(
    name="fig2",
    title="dimension of the harmless subspace against the output's size",
    source="figure 2, corollaries 1 and 2, appendix F.1",
    question=(
        "How many dimensions of its input can the first layer of a network not see, when it is given more and more "
        "outputs? The paper says n − m, and 0 from n = m on; here the rank of every layer is certified, after a short "
        "training and at random weights. n is the size of the input, m of the output."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
