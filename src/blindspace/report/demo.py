"""The demo: what a network cannot see, proved, measured on real images and shown on one page."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import ImageSet, samples
from ..evidence import Audit, Evidence, audit, verify
from ..files import writing
from ..networks import Network, load
from ..perturbations import harmless_noise
from ..progress import Progress
from ..subspaces import norms
from .figures import Example, charts, example
from .page import render, require

ALPHAS = (0, *(2**power for power in range(9)))
"""Sizes of the perturbations, in units of ``UNIT``."""

UNIT = 8 / 255
"""The customary size of an adversarial perturbation, L∞, in units of the image range."""

SHOWN = 8
"""Images in the gallery, each at the next of the last sizes."""


@dataclass(frozen=True)
class Step:
    """All images perturbed at one size, in three ways.

    Attributes:
        alpha: size in units of ``UNIT``.
        size: L∞ of every harmless perturbation.
        l2: their mean L2.
        harmless: what the network makes of them.
        gaussian: of Gaussian noise, the L2 of each that of the harmless one.
        shuffled: of the harmless ones, the pixels of each in random order.
        floor: largest change of any output, in float64, that storing the sum in the model's own precision causes alone.
        floor_float64: the same for storing it in float64, in proportion to the spacing of the numbers.
    """

    alpha: int
    size: float
    l2: float
    harmless: Evidence
    gaussian: Evidence
    shuffled: Evidence
    floor: float
    floor_float64: float


@dataclass(frozen=True)
class DemoResult:
    """Everything the page shows.

    Attributes:
        page: the HTML file.
        data: the same figures as JSON.
        seed: of everything random.
        network: its name and card, under ``name`` and ``card``.
        images: how many were perturbed.
        correct: how many of them the network classifies correctly, as they are.
        margin: smallest difference between the largest and second largest output for any of them, as they are.
        audit: what the network cannot see.
        steps: one a size.
        gallery: several images, one at each of the last sizes.
        strip: the first of them at all of those sizes.
        versions: of what the figures depend on.
    """

    page: Path
    data: Path
    seed: int
    network: dict[str, Any]
    images: int
    correct: int
    margin: float
    audit: Audit
    steps: tuple[Step, ...]
    gallery: tuple[Example, ...]
    strip: tuple[Example, ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "seed": self.seed,
            "network": self.network,
            "images": self.images,
            "correct": self.correct,
            "margin": self.margin,
            "audit": self.audit.to_dict(),
            "steps": [asdict(step) for step in self.steps],
            "gallery": [example.to_dict() for example in self.gallery],
            "strip": [example.to_dict() for example in self.strip],
            "versions": self.versions,
        }


def run_demo(
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    network: Network | None = None,
    images: ImageSet | None = None,
    with_layers: bool = True,
) -> DemoResult:
    """Audit a network, perturb real images at growing size and write ``index.html`` and ``demo.json``.

    Args:
        out: folder of the two files; made if missing.
        seed: of everything random.
        progress: called before each step.
        network: ``cifar-resnet`` if None.
        images: of the network's shape, at least one; the 200 embedded CIFAR-10 images if None.
        with_layers: whether every linear layer is audited by itself too, which takes minutes.

    Raises:
        FileError: the folder cannot be written to.
        MissingExtraError: jinja2 or matplotlib is not installed.
        ValueRangeError: the network has no harmless perturbations.
    """
    for package in ("jinja2", "matplotlib"):  # here, not after minutes of work
        require(package)
    network = network or load("cifar-resnet")
    images = samples("cifar10") if images is None else images
    x, truth = images.tensor(torch.float64), images.targets()
    outputs = network.outputs(x, torch.float64).flatten(1)
    predicted, best = network.labels(x), outputs.topk(2, 1).values
    chosen = _choose(truth, predicted)
    tell = progress or (lambda done, total, what: None)
    steps: list[Step] = []
    gallery: list[Example] = []
    strip: list[Example] = []
    with writing(Path(out) / "index.html") as html, writing(Path(out) / "demo.json") as data:
        found = audit(
            network,
            layers=with_layers,
            seed=seed,
            progress=lambda done, total, what: tell(done, total + len(ALPHAS), what),
        )
        before, generator = len(found.layers) + 1, torch.Generator().manual_seed(seed)
        for index, alpha in enumerate(ALPHAS):
            tell(before + index, before + len(ALPHAS), f"size {alpha * UNIT:.3f}")
            noises = _noises(found, x, alpha * UNIT, generator)
            steps.append(_step(network, x, outputs, alpha, *noises))
            if (row := index - len(ALPHAS) + SHOWN) >= 0:
                for shown, i in ((gallery, chosen[row % len(chosen)]), (strip, chosen[0])):
                    shown.append(example(network, images, i, alpha * UNIT, x[i], noises[0][i], noises[1][i]))
        result = DemoResult(
            page=Path(out) / "index.html",
            data=Path(out) / "demo.json",
            seed=seed,
            network={"name": network.name, "card": network.card},
            images=len(x),
            correct=int((predicted == truth).sum()),
            margin=float((best[:, 0] - best[:, 1]).min()),
            audit=found,
            steps=tuple(steps),
            gallery=tuple(gallery),
            strip=tuple(strip),
            versions={
                "blindspace": version("blindspace"),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "machine": platform.machine(),
            },
        )
        html.write_text(render("demo.html", {"demo": result, "charts": charts(steps[1:])}), encoding="utf-8")
        data.write_text(json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n")
        tell(before + len(ALPHAS), before + len(ALPHAS), "done")
    return result


def _choose(truth: Tensor, predicted: Tensor) -> list[int]:
    """The first image of each class that is classified correctly, then others to make up the number."""
    first: dict[int, int] = {}
    for index in (truth == predicted).nonzero().flatten().tolist():
        first.setdefault(int(truth[index]), index)
    others = [index for index in range(len(truth)) if index not in first.values()]
    return (sorted(first.values()) + others)[:SHOWN]


def _noises(found: Audit, x: Tensor, size: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Harmless perturbations of that L∞; Gaussian noise of their L2; the same perturbations, pixels in random order."""
    harmless = harmless_noise(found.space, len(x), size, generator=generator)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    gaussian = noise / norms(noise, "l2") * norms(harmless, "l2")
    flat = harmless.flatten(2)
    order = torch.rand(len(x), 1, flat.shape[2], generator=generator).argsort(2).expand_as(flat)
    return harmless, gaussian, flat.gather(2, order).view_as(x)


def _step(
    network: Network, x: Tensor, outputs: Tensor, alpha: int, harmless: Tensor, gaussian: Tensor, shuffled: Tensor
) -> Step:
    total = x + harmless
    rounding = total.to(network.dtype).double() - total
    floor = float((network.outputs(x + rounding, torch.float64).flatten(1) - outputs).abs().max())
    return Step(
        alpha=alpha,
        size=alpha * UNIT,
        l2=float(norms(harmless, "l2").mean()),
        harmless=verify(network, x, total),
        gaussian=verify(network, x, x + gaussian),
        shuffled=verify(network, x, x + shuffled),
        floor=floor,
        floor_float64=floor * torch.finfo(torch.float64).eps / torch.finfo(network.dtype).eps,
    )
