"""Figure 7: harmless perturbations of any magnitude on adversarial examples."""

from __future__ import annotations

from .common.gallery.report import gallery_experiment

EXPERIMENT = gallery_experiment(
    name="fig7",
    base="adversarial",
    title="harmless perturbations on adversarial examples",
    question=(
        "Does an adversarial example keep its full effect under a harmless perturbation of any magnitude? Random "
        "harmless perturbations of a ResNet-50 with ten kernels in its first layer are added to CIFAR-10 test images "
        "that PGD-20 with ε = 8/255 has attacked. Blue labels are correct, red ones the attack's, orange ones others."
    ),
)
