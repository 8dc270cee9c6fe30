"""Figures 6, 7 and 8: networks under harmless perturbations of growing magnitude added to three kinds of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ....attacks import pgd
from ....networks import Network, harmless
from ....perturbations import harmless_noise
from ....perturbations.controls import gaussian, in_random_subspace, shuffled
from ....progress import Progress
from ...parts import Kept, Part, Preset, Settings, about
from ..magnitudes import next_up
from ..models import examples, images, model_under_test, tensors

Base = Literal["natural", "adversarial", "gaussian"]

EPSILON, LEVEL = 8 / 255, 1 / 255
HARMLESS, ULP, CONTROLS = "harmless", "one ulp", ("shuffled", "random subspace", "Gaussian")
OWN, DOUBLE = "float32", "float64"


@dataclass(frozen=True)
class Gallery(Settings):
    """Settings of a gallery.

    Attributes:
        base: Kind of images that harmless perturbations are added to.
        network: A built-in network, or one of the paper's.
        count: Number of test images.
        batch: Images per batch.
        steps: Steps of PGD with eps = 8/255 and step size 1/255 (appendix F.2).
        noise: Standard deviation of the Gaussian noise, clamped to ±8/255 as the authors do.
        shown: Magnitudes ‖δ‖∞ in the picture, in units of 1/255.
        beyond: Further magnitudes, up to where float32 can no longer represent image and perturbation together.
        compared: Magnitude at which the picture shows two controls.
        rows: Rows of the picture.
    """

    base: Base = "natural"
    network: str = "resnet50-ten"
    count: int = 100
    batch: int = 50
    steps: int = 20
    noise: float = 0.1
    shown: tuple[int, ...] = (8, 32, 64, 128, 256, 512, 1024)
    beyond: tuple[int, ...] = tuple(2**k for k in range(12, 31, 2))
    compared: int = 128
    rows: int = 6

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """All magnitudes, ascending."""
        return self.shown + self.beyond


def gallery_settings(base: Base, preset: Preset, seed: int) -> Gallery:
    """The settings of a preset; smoke has the shipped network, whose labels are meaningful."""
    if preset == "smoke":
        few = (8, 64, 256, 1024)
        return Gallery(preset, seed, base, "cifar-resnet", 10, 10, 5, shown=few, beyond=(2**20, 2**30), rows=2)
    return Gallery(preset, seed, base, count=100 if preset == "cpu" else 1000)


def gallery_parts(s: Gallery) -> list[Part]:
    """All magnitudes in one part: they share the attack."""
    return [Part("sweep", lambda progress: _sweep(s, progress))]


def _sweep(s: Gallery, progress: Progress) -> Kept:
    network = model_under_test(s.network, s, progress)
    chosen = images("cifar10", s.preset, s.count)
    natural, truth = tensors(chosen, s, torch.float64)
    bases = {"natural": natural}
    if s.base != "natural":
        draw = s.generator("base")
        noise = torch.randn(natural.shape, generator=draw, dtype=torch.float64).to(s.device)
        noise = (s.noise * noise).clamp(-EPSILON, EPSILON)
        bases |= {"gaussian": (natural + noise).clamp(0, 1), "adversarial": _attacked(s, network, natural, truth)}
    base = bases[s.base]
    draw, space = s.generator("perturbation"), harmless(network)
    unit = harmless_noise(space, len(base), LEVEL, generator=draw).to(s.device)
    kinds = {
        HARMLESS: unit,
        "shuffled": shuffled(unit, draw),
        "random subspace": in_random_subspace(unit, space.dim, draw),
        "Gaussian": gaussian(unit, draw),
    }
    arrays = {f"label {name}": network.labels(x) for name, x in bases.items()} | {"truth": truth}
    arrays |= sweep(s, network, base, kinds, progress)
    picture, captions, marks = _pictured(s, network, bases, kinds, arrays)
    facts = {"network": about(network), "dim": space.dim, "captions": captions, "marks": marks}
    return Kept(facts, arrays | {"picture": picture})


def _attacked(s: Gallery, network: Network, x: Tensor, y: Tensor) -> Tensor:
    draw = s.generator("attack")
    some = zip(x.float().split(s.batch), y.split(s.batch), strict=True)
    module = network.differentiable(network.dtype, x.device)
    return torch.cat([pgd(module, a, b, EPSILON, s.steps, LEVEL, generator=draw).images for a, b in some]).double()


def sweep(
    s: Gallery, network: Network, base: Tensor, kinds: dict[str, Tensor], progress: Progress
) -> dict[str, Tensor]:
    """Evaluate a network under perturbations of every magnitude.

    Args:
        s: Settings, for the magnitudes.
        network: Model under test.
        base: Images, float64 ``(N, *shape)``.
        kinds: Perturbations of magnitude 1/255, shaped as ``base``; the harmless one is evaluated in float64 too.
        progress: Called with the share of the work that is done.

    Returns:
        "base PRECISION label": labels without a perturbation, ``(N,)``. "KIND PRECISION label" and "KIND PRECISION
        change": labels, and largest change of an output in float64, each ``(magnitudes, N)``. The change of the kind
        "one ulp" is the effect of moving every pixel of the harmlessly perturbed image to the next number.
    """
    dtypes = {OWN: network.dtype, DOUBLE: torch.float64}
    clean = {name: network.outputs(base, dtype, s.batch) for name, dtype in dtypes.items()}
    found: dict[str, list[Tensor]] = {}
    for index, m in enumerate(s.magnitudes):
        progress(index, len(s.magnitudes), f"magnitude {m}/255")
        for kind, unit in kinds.items():
            for name, dtype in dtypes.items() if kind == HARMLESS else [(OWN, dtypes[OWN])]:
                x = (base + m * unit).to(dtype)
                out = network.outputs(x, dtype, s.batch)
                found.setdefault(f"{kind} {name} label", []).append(out.argmax(1))
                found.setdefault(f"{kind} {name} change", []).append(_largest(out - clean[name]))
                if kind == HARMLESS:
                    moved = network.outputs(next_up(x), dtype, s.batch)
                    found.setdefault(f"{ULP} {name} change", []).append(_largest(moved - out))
    labels = {f"base {name} label": out.argmax(1) for name, out in clean.items()}
    return labels | {name: torch.stack(values) for name, values in found.items()}


def _largest(change: Tensor) -> Tensor:
    return change.abs().amax(1).double()


def _pictured(
    s: Gallery, network: Network, bases: dict[str, Tensor], kinds: dict[str, Tensor], arrays: dict[str, Tensor]
) -> tuple[Tensor, list[list[str]], list[list[str]]]:
    """Images of the picture ``(rows, columns, *shape)``, their captions, and whether each label is right."""
    which = torch.tensor(examples(arrays["truth"], _eligible(s, arrays), s.rows))
    base = bases[s.base][which]
    columns = [base + m * kinds[HARMLESS][which] for m in s.shown]
    columns += [base + s.compared * kinds[kind][which] for kind in ("shuffled", "Gaussian")]
    first = [bases["natural"][which]] if s.base != "natural" else []
    shown = torch.stack([*first, base, *columns], 1).float()
    chances = network.outputs(shown.flatten(0, 1)).softmax(1).view(*shown.shape[:2], -1)
    best, label = (found.tolist() for found in chances.max(2))
    captions = [
        [f"{network.class_name(c)}\n{p:.1%}" for c, p in zip(*row, strict=True)]
        for row in zip(label, best, strict=True)
    ]
    truth = arrays["truth"][which].tolist()
    marks = [[_mark(c, right, row[len(first)]) for c in row] for row, right in zip(label, truth, strict=True)]
    return shown, captions, marks


def _mark(label: int, truth: int, base: int) -> str:
    """Whether a label is right, wrong like the base's, or wrong in another way."""
    return "right" if label == truth else "as the base" if label == base else "other"


def _eligible(s: Gallery, arrays: dict[str, Tensor]) -> Tensor:
    """Images classified correctly before the attack and, in the gallery of adversarial examples, wrongly after it."""
    right = arrays["label natural"] == arrays["truth"]
    return right & (arrays["label adversarial"] != arrays["truth"]) if s.base == "adversarial" else right
