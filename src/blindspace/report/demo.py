"""The demo: the report of the built-in network that reads photographs."""

from __future__ import annotations

from pathlib import Path

import torch

from ..data import ImageSet
from ..evidence import audit
from ..networks import load
from ..progress import Progress
from .network_report import Report, write_report

MODEL = "cifar-resnet"

NEXT = (
    (
        "an image that people cannot recognise and the network reads as before",
        "perturb samples --kind largest --out out",
    ),
    ("the proof that the network sees no difference", "verify samples out"),
    ("the report of a network of your own", "audit YOUR.onnx --report report"),
)
"""What to try after the demo, and the commands."""


def demo(
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    images: ImageSet | None = None,
    thorough: bool = True,
    device: torch.device | str | None = None,
) -> Report:
    """Audit ``cifar-resnet`` on real images and write its report, as ``write_report`` does.

    Args:
        out: folder of the two files; made if missing.
        seed: seed of everything random.
        progress: called before each step; the total is 100.
        images: labelled images; the 200 embedded CIFAR-10 images if None.
        thorough: whether the layers and the spectrum are shown too, which takes half a minute.
        device: device of torch on which the images are; the CPU if None.

    Raises:
        BlindspaceError: there is no such device.
        FileError: the folder cannot be written to.
        MissingExtraError: jinja2 or matplotlib is not installed.

    Examples:
        >>> import tempfile, blindspace as bs
        >>> few = bs.data.samples("cifar10").take(slice(4))
        >>> report = bs.demo(tempfile.mkdtemp(), images=few, thorough=False)
        >>> report.page.name, report.audit.space.dim
        ('index.html', 512)
    """
    network = load(MODEL, device=device)
    found = None if thorough else audit(network, layers=False, seed=seed)
    return write_report(network, out, found=found, images=images, seed=seed, options=MODEL, progress=progress)
