"""The demo page: what a network cannot see, certified and shown on real images."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..data import ImageSet, samples
from ..errors import ValueRangeError
from ..evidence import Audit, audit
from ..evidence.growing_noise import ALPHAS, GrowingNoise, growing_noise
from ..files import as_path, writing
from ..networks import Network, load
from ..progress import Progress
from .charts import charts
from .page import render, require


@dataclass(frozen=True)
class DemoResult:
    """Everything the page shows.

    Attributes:
        page: the HTML file.
        data: the JSON file with the same figures.
        seed: seed of everything random.
        network: name and card of the network, under ``name`` and ``card``.
        audit: what the network cannot see.
        noise: effect of growing harmless noise on the images.
        versions: versions of the software and the kind of machine.
    """

    page: Path
    data: Path
    seed: int
    network: dict[str, Any]
    audit: Audit
    noise: GrowingNoise
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        return {
            "seed": self.seed,
            "network": self.network,
            "images": self.noise.images,
            "correct": self.noise.correct,
            "margin": self.noise.margin,
            "audit": self.audit.to_dict(),
            "steps": [asdict(step) for step in self.noise.steps],
            "gallery": [example.to_dict() for example in self.noise.gallery],
            "strip": [example.to_dict() for example in self.noise.strip],
            "versions": self.versions,
        }


def demo(
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
        seed: seed of everything random.
        progress: called before each step.
        network: the network; ``cifar-resnet`` if None.
        images: images of the network's input shape, at least one; the 200 embedded CIFAR-10 images if None.
        with_layers: whether every linear layer is audited by itself too, which takes minutes.

    Raises:
        FileError: the folder cannot be written to.
        MissingExtraError: jinja2 or matplotlib is not installed.
        ValueRangeError: the network has no harmless perturbations, or no labels that follow from scores.

    Examples:
        >>> import torch, blindspace as bs
        >>> from pathlib import Path
        >>> layer = torch.nn.Conv2d(1, 2, 4, stride=4)
        >>> module = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(98, 10))
        >>> network = bs.load(module, (1, 28, 28))
        >>> result = bs.demo(Path("demo"), network=network, images=bs.data.samples("mnist"), with_layers=False)
        >>> result.page.name
        'index.html'
    """
    for package in ("jinja2", "matplotlib"):  # here, not after minutes of work
        require(package)
    network = network or load("cifar-resnet")
    if not network.labelling.classes:
        raise ValueRangeError(f"the page shows labels, which {network.name} does not give: {network.labelling.words}")
    tell = progress or (lambda done, total, what: None)
    out = as_path(out, "the folder of the page")
    page, data = out / "index.html", out / "demo.json"
    with writing(page) as html_file, writing(data) as data_file:
        found = audit(
            network,
            layers=with_layers,
            seed=seed,
            progress=lambda done, total, what: tell(done, total + len(ALPHAS), what),
        )
        before = len(found.layers) + 1
        noise = growing_noise(
            network,
            found.space,
            samples("cifar10") if images is None else images,
            seed,
            lambda done, total, what: tell(before + done, before + total, what),
        )
        result = DemoResult(
            page=page,
            data=data,
            seed=seed,
            network={"name": network.name, "card": network.card},
            audit=found,
            noise=noise,
            versions={
                "blindspace": version("blindspace"),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "machine": platform.machine(),
            },
        )
        html_file.write_text(render("demo.html", {"demo": result, "charts": charts(noise.steps[1:])}), encoding="utf-8")
        data_file.write_text(json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n")
        tell(before + len(ALPHAS), before + len(ALPHAS), "done")
    return result
