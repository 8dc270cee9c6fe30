"""What protecting pictures costs: the command ``protect``, the largest perturbations, and completing a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from ..collections import Settings, protect
from ..data import samples, write_png
from ..evidence import canonical
from ..evidence.prior import NATURAL
from ..networks import harmless, load
from ..networks.preprocessing_modules import Resize
from ..perturbations import Recipe, largest
from ..progress import Progress
from ..subspaces import nullspace
from .measure import timed

NETWORK = "cifar-resnet"

PHOTOGRAPH = (3, 375, 500)
"""Shape of the picture that is completed: a draw from the prior of natural images, before a resize to 224×224."""


@dataclass(frozen=True)
class ProtectRow:
    """One measurement.

    Attributes:
        what: What was done.
        images: Number of images.
        seconds: Processor time per image in seconds, on one thread, everything but loading the network included.
        figure: What shows that the work was done, such as the mean squared change.
        figure_is: What ``figure`` is.
    """

    what: str
    images: int
    seconds: float
    figure: float
    figure_is: str


def protecting(
    images: int = 1000, most: int = 200, seed: int = 0, progress: Progress | None = None
) -> list[ProtectRow]:
    """Measure in this process.

    Args:
        images: Number of pictures that are protected, CIFAR-10's embedded ones under new names.
        most: Number of images of which the largest perturbation is sought, at most 200.
        seed: Seed of everything random.
        progress: Called before each measurement.
    """
    network = load(NETWORK)
    space = harmless(network)
    x = samples("cifar10").tensor(torch.float64)
    tell = progress or (lambda done, total, what: None)
    tell(0, 3, f"protecting {images} images")
    with TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for number, (_, picture) in enumerate(islice(product(range(images // len(x) + 1), x.numpy()), images)):
            write_png(source / f"{number:06d}.png", picture)
        settings = Settings(NETWORK, Recipe("noise", size=0.1, seed=seed))
        seconds, summary = timed(lambda: protect(source, Path(folder) / "target", settings, workers=0))
    rows = [
        ProtectRow(
            "protect, noise, as PNG", images, seconds / images, float(summary.labels_changed or 0), "labels changed"
        )
    ]
    tell(1, 3, f"largest perturbations of {most} images")
    generator = torch.Generator().manual_seed(seed)
    seconds, found = timed(lambda: largest(space, x[:most], generator))
    rows.append(
        ProtectRow("largest perturbation", len(found.msc), seconds / len(found.msc), float(found.msc.mean()), "MSC")
    )
    tell(2, 3, "completing a photograph")
    picture = _photograph(seed)
    resized = nullspace(Resize((224, 224)), PHOTOGRAPH)
    seconds, made = timed(lambda: canonical(resized, picture))
    energy = float(NATURAL.energy(made.images)[0]) / picture.numel()
    rows.append(ProtectRow("completion before a resize", 1, seconds, energy, "energy per value"))
    return rows


def _photograph(seed: int) -> Tensor:
    """A picture with some detail, black and white in places."""
    drawn = NATURAL.sample(1, PHOTOGRAPH, torch.Generator().manual_seed(seed))
    fine = nn.functional.interpolate(drawn[..., ::8, ::8], size=PHOTOGRAPH[1:], mode="nearest")
    return (0.6 * drawn + 0.4 * fine).clamp(0, 1)
