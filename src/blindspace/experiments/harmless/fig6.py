"""Figure 6: harmless perturbations of any magnitude on natural images."""

from __future__ import annotations

from pathlib import Path

from ..experiment import Experiment, Parts
from ..galleries import Gallery, gallery_parts, gallery_settings
from ..gallery_report import gallery_claims, gallery_draw, gallery_rows
from ..subjects import Preset


def settings(preset: Preset, seed: int) -> Gallery:
    """Of a preset."""
    return gallery_settings("natural", preset, seed)


def draw(s: Gallery, done: Parts, folder: Path) -> None:
    """The gallery and the chart."""
    gallery_draw(s, done, folder, "fig6")


EXPERIMENT: Experiment[Gallery] = Experiment(
    name="fig6",
    title="harmless perturbations on natural images",
    source="figure 6, section 5.2 and appendix F.4",
    question=(
        "Does a network read an image as before under a harmless perturbation of any magnitude, however little people "
        "see of the image? Random harmless perturbations of a ResNet-50 with ten kernels in its first layer are added "
        "to CIFAR-10 test images, each at magnitudes up to far beyond the pixel range. Blue labels are right."
    ),
    settings=settings,
    parts=gallery_parts,
    rows=gallery_rows,
    claims=gallery_claims,
    draw=draw,
    extras=("plot", "timm"),
)
