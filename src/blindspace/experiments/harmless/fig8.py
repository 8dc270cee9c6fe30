"""Figure 8: harmless perturbations of any magnitude on noisy images."""

from __future__ import annotations

from pathlib import Path

from ..experiment import Experiment, Parts
from ..galleries import Gallery, gallery_parts, gallery_settings
from ..gallery_report import gallery_claims, gallery_draw, gallery_rows
from ..subjects import Preset


def settings(preset: Preset, seed: int) -> Gallery:
    """Of a preset."""
    return gallery_settings("gaussian", preset, seed)


def draw(s: Gallery, done: Parts, folder: Path) -> None:
    """The gallery and the chart."""
    gallery_draw(s, done, folder, "fig8")


EXPERIMENT: Experiment[Gallery] = Experiment(
    name="fig8",
    title="harmless perturbations on images with Gaussian noise",
    source="figure 8, section 5.2 and appendix F.4",
    question=(
        "Does Gaussian noise keep its small effect under a harmless perturbation of any magnitude, where an attack of "
        "that size has a large one? Random harmless perturbations of a ResNet-50 with ten kernels in its first "
        "layer are added to CIFAR-10 test images with noise of standard deviation 0.1, clamped to ±8/255. Blue labels "
        "are right, others wrong."
    ),
    settings=settings,
    parts=gallery_parts,
    rows=gallery_rows,
    claims=gallery_claims,
    draw=draw,
    extras=("plot", "timm"),
)
