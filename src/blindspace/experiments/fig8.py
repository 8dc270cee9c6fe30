"""Figure 8: harmless perturbations of any magnitude on noisy images."""

from __future__ import annotations

from .common.gallery.report import gallery_experiment

EXPERIMENT = gallery_experiment(
    name="fig8",
    base="gaussian",
    title="harmless perturbations on images with Gaussian noise",
    question=(
        "Does Gaussian noise keep its small effect under a harmless perturbation of any magnitude, where an attack of "
        "that size has a large one? Random harmless perturbations of a ResNet-50 with ten kernels in its first "
        "layer are added to CIFAR-10 test images with noise of standard deviation 0.1, clamped to ±8/255. Blue labels "
        "are correct, others wrong."
    ),
)
