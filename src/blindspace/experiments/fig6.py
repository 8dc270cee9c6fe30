"""Figure 6: harmless perturbations of any magnitude on natural images."""

from __future__ import annotations

from .common.gallery.report import gallery_experiment

EXPERIMENT = gallery_experiment(
    name="fig6",
    base="natural",
    title="harmless perturbations on natural images",
    question=(
        "Does a network classify an image as before under a harmless perturbation of any magnitude, however little "
        "people see of the image? Random harmless perturbations of a ResNet-50 with ten kernels in its first layer "
        "are added to CIFAR-10 test images, each at magnitudes up to far beyond the pixel range. Blue labels are "
        "correct."
    ),
)
