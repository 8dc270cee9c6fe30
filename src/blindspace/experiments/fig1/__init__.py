"""Figure 1: images, the harmless perturbations that hide them, and their sums, which the network reads as before."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Fig1, for_preset

EXPERIMENT: Experiment[Fig1] = Experiment(
    name="fig1",
    title="images hidden by harmless perturbations",
    source="figure 1, section 5.1 and appendix F.3",
    question=(
        "Can images be made unrecognisable to people while the network's output does not change at all? The largest "
        "harmless perturbation of a ResNet-50 with ten kernels in its first layer is added to CIFAR-10 test images, "
        "once inside the pixel range exactly, once scaled far beyond it. Under each image: label, confidence, and Δ, "
        "the largest change of an output in float64 and in float32. Gaussian noise of equal norm stands beside them."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
