"""Figure 7: harmless perturbations of any magnitude on adversarial examples."""

from __future__ import annotations

from pathlib import Path

from ..experiment import Experiment, Parts
from ..galleries import Gallery, gallery_parts, gallery_settings
from ..gallery_report import gallery_claims, gallery_draw, gallery_rows
from ..subjects import Preset


def settings(preset: Preset, seed: int) -> Gallery:
    """Of a preset."""
    return gallery_settings("adversarial", preset, seed)


def draw(s: Gallery, done: Parts, folder: Path) -> None:
    """The gallery and the chart."""
    gallery_draw(s, done, folder, "fig7")


EXPERIMENT: Experiment[Gallery] = Experiment(
    name="fig7",
    title="harmless perturbations on adversarial examples",
    source="figure 7, section 5.2 and appendix F.4",
    question=(
        "Does an adversarial example keep its full effect under a harmless perturbation of any magnitude? Random "
        "harmless perturbations of a ResNet-50 with ten kernels in its first layer are added to CIFAR-10 test images "
        "that PGD-20 with ε = 8/255 has attacked. Blue labels are right, red ones the attack's, orange ones others."
    ),
    settings=settings,
    parts=gallery_parts,
    rows=gallery_rows,
    claims=gallery_claims,
    draw=draw,
    extras=("plot", "timm"),
)
