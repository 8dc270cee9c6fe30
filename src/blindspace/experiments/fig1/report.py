"""Figure 1: images, the harmless perturbations that hide them, and their sums, which the network reads as before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...networks import Network, harmless
from ...subspaces import norms
from ..common.controls import gaussian
from ..common.intervals import of_share
from ..common.largest_harmless import farthest
from ..common.magnitudes import next_up
from ..common.models import Preset, Report, examples, images, subject
from ..common.pictures import gallery, signed
from ..experiment import Claim, Experiment, Kept, Part, Parts, Row, Settings, about

INSIDE, BEYOND, NOISE = "inside [0, 1]", "beyond [0, 1]", "Gaussian noise of equal norm"
KINDS = (INSIDE, BEYOND, NOISE)
DTYPES = {"float64": torch.float64, "float32": torch.float32}
ROUNDING = 20.0
"""Times the effect of one ulp in the input up to which a change of outputs is called rounding."""


@dataclass(frozen=True)
class Fig1(Settings):
    """Settings of figure 1.

    Attributes:
        network: built-in, or one of the paper's.
        count: test images of which the first recognised one of each class is taken.
        shown: images in the picture.
        iterations: of the search for the largest perturbation; None for ``largest``'s own number.
        magnitude: ‖δ‖∞ of the perturbations that leave [0, 1].
    """

    network: str = "resnet50-ten"
    count: int = 100
    shown: int = 6
    iterations: int | None = None
    magnitude: float = 4.0


def settings(preset: Preset, seed: int) -> Fig1:
    """Of a preset; smoke has the shipped network, whose labels mean something."""
    if preset == "smoke":
        return Fig1(preset, seed, "cifar-resnet", count=20, shown=3, iterations=60)
    return Fig1(preset, seed)


def parts(s: Fig1) -> list[Part]:
    """All of it at once."""
    return [Part("gallery", lambda report: _gallery(s, report))]


def _gallery(s: Fig1, report: Report) -> Kept:
    network = subject(s.network, s.preset, report)
    chosen = images("cifar10", s.preset, s.count)
    x, truth = chosen.tensor(torch.float64), chosen.targets()
    x = x[examples(truth, network.labels(x) == truth, s.shown)]
    space = harmless(network)
    found = farthest(s, space, x, report, s.iterations)
    delta = found.images - x
    wide = space.project(delta) * (s.magnitude / norms(delta, "linf"))
    changed = {INSIDE: found.images, BEYOND: x + wide, NOISE: (x + gaussian(delta, s.generator("noise"))).clamp(0, 1)}
    labels, chances = _read(network, x)
    captions = {"original": _captions(network, labels, chances)}
    facts = {
        "network": about(network),
        "dim": space.dim,
        "residual": float(found.residual.max()),
        "outside": int(((found.images < 0) | (found.images > 1)).sum()),
        "bound": float(found.bound.mean()),
        "captions": captions,
    }
    arrays = {"original": x, "labels original": labels}
    for kind, y in changed.items():
        labels, chances = _read(network, y)
        captions[kind] = _captions(network, labels, chances)
        arrays |= {kind: y, f"labels {kind}": labels}
        for name, dtype in DTYPES.items():
            arrays[f"{name} {kind}"] = _moved(network, x, y, dtype)
            arrays[f"{name} ulp {kind}"] = _moved(network, y.to(dtype), next_up(y.to(dtype)), dtype)
    return Kept(facts, arrays)


def _read(network: Network, x: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and the network's confidence in them, in its own precision, each ``(B,)``."""
    chances, labels = network.outputs(x).softmax(1).max(1)
    return labels, chances


def _captions(network: Network, labels: Tensor, chances: Tensor) -> list[str]:
    return [f"{network.class_name(label)}\n{p:.1%}" for label, p in zip(labels.tolist(), chances.tolist(), strict=True)]


def _moved(network: Network, x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest change of an output of each image, ``(B,)``."""
    return (network.outputs(y, dtype) - network.outputs(x, dtype)).abs().amax(1).double()


def rows(s: Fig1, done: Parts) -> list[Row]:
    """How large the perturbations are, and what they change."""
    part = done["gallery"]
    a = part.arrays
    x, made = a["original"], []
    for kind in KINDS:
        delta = a[kind] - x
        same = a[f"labels {kind}"] == a["labels original"]
        paper = None if kind == NOISE else 1.0
        kept, of, control = int(same.sum()), len(same), kind == NOISE
        case = f"{kind}, ‖δ‖∞ {float(delta.abs().max()):.3g}" if kind == BEYOND else kind
        case = case if control else f"harmless, {case}"
        made += [
            Row(case, "labels as before", kept / of, paper, of_share(kept, of), control, form=".0%"),
            Row(case, "mean squared change", float(delta.square().mean()), control=control, form=".4f"),
        ]
        for name in DTYPES:
            floor = float(a[f"{name} ulp {kind}"].max())
            reason = "" if control else f"rounding; one ulp in the input makes {floor:.1e}"
            change = float(a[f"{name} {kind}"].max())
            paper = None if control or name == "float32" else 0.0
            made.append(Row(case, f"largest change of an output, {name}", change, paper, None, control, reason, ".1e"))
    bound = part.values["bound"]
    made.append(Row("harmless, inside [0, 1]", "mean squared change that none exceeds", bound, form=".4f"))
    made.append(Row("harmless, inside [0, 1]", "values outside [0, 1]", part.values["outside"], 0.0, form=".0f"))
    return made


def claims(s: Fig1, done: Parts) -> list[Claim]:
    """Inside the pixel range exactly, and read as before to rounding whatever the magnitude."""
    part = done["gallery"]
    a, outside = part.arrays, part.values["outside"]
    made = [
        Claim(
            f"{outside} of {a[INSIDE].numel()} values of the hidden images are outside [0, 1]; residual "
            f"‖Aδ‖/(‖A‖‖δ‖) at most {part.values['residual']:.1e}",
            outside == 0 and part.values["residual"] <= 1e-12,
        )
    ]
    for kind in (INSIDE, BEYOND):
        changed = int((a[f"labels {kind}"] != a["labels original"]).sum())
        ratios = [float(a[f"{name} {kind}"].max() / a[f"{name} ulp {kind}"].max()) for name in DTYPES]
        moved = ", ".join(f"{a[f'{name} {kind}'].max():.1e} in {name}" for name in DTYPES)
        made.append(
            Claim(
                f"{kind}: {changed} of {len(a['original'])} labels changed; outputs moved by at most {moved}, "
                f"{ratios[0]:.1f} and {ratios[1]:.1f} times what one ulp in the input makes",
                changed == 0 and max(ratios) <= ROUNDING,
            )
        )
    return made


def draw(s: Fig1, done: Parts, folder: Path) -> None:
    """Original, perturbation and sum, inside the pixel range and beyond; then the noise."""
    part = done["gallery"]
    a, captions = part.arrays, part.values["captions"]
    heads = (
        "original x",
        "harmless δ",
        f"x + δ {INSIDE}",
        "larger δ",
        "x + δ, clipped\nto be shown",
        "noise, ‖δ‖ of the\nsecond column",
    )
    pictures, words = [], []
    for i, x in enumerate(a["original"]):
        small, large = a[INSIDE][i] - x, a[BEYOND][i] - x
        pictures.append([x, signed(small), a[INSIDE][i], signed(large), a[BEYOND][i], a[NOISE][i]])
        words.append(
            [
                captions["original"][i],
                f"‖δ‖∞ {float(small.abs().max()):.2f}\n‖δ‖₂ {float(small.norm()):.1f}",
                _outcome(captions[INSIDE][i], a, INSIDE, i),
                f"‖δ‖∞ {float(large.abs().max()):.2f}\n‖δ‖₂ {float(large.norm()):.1f}",
                _outcome(captions[BEYOND][i], a, BEYOND, i),
                _outcome(captions[NOISE][i], a, NOISE, i),
            ]
        )
    gallery(folder / "fig1.png", pictures, heads, words, side=1.35)


def _outcome(caption: str, a: dict[str, Tensor], kind: str, index: int) -> str:
    """Label and confidence, and how far the outputs moved in each precision."""
    moved = [float(a[f"{name} {kind}"][index]) for name in DTYPES]
    label, chance = caption.split("\n")
    return f"{label} {chance}\nΔ {moved[0]:.0e}; {moved[1]:.0e}"


EXPERIMENT: Experiment[Fig1] = Experiment(
    name="fig1",
    title="images hidden by harmless perturbations",
    source="figure 1, section 5.1 and appendix F.3",
    question=(
        "Can images be made unrecognisable to people while the network's output does not change at all? The largest "
        "harmless perturbation of a ResNet-50 with ten kernels in its first layer is added to CIFAR-10 test images, "
        "once inside the pixel range exactly, once scaled far beyond it. Under each image: label, confidence, and Δ, "
        "the largest change of an output in float64 and in float32. Gaussian noise of equal norm stands beside them."
    ),
    settings=settings,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
