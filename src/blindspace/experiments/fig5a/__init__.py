"""Figure 5a: accuracy against the magnitude of a harmless perturbation, of images and of features inside a network."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Fig5a, for_preset

EXPERIMENT: Experiment[Fig5a] = Experiment(
    name="fig5a",
    title="accuracy against the magnitude of harmless perturbations",
    source="figure 5a, section 3.3, appendix F.2",
    question=(
        "Does a network's accuracy stay the same however large a harmless perturbation is? The perturbation is the "
        "parallel component of PGD-20, scaled to L∞ = 8/255 and multiplied by α = 1 to 256, added to CIFAR-10 test "
        "images, or to the features that a contracting layer reads (there in units of the sample's largest feature). "
        "As in the paper, perturbed images leave [0, 1], and the block that holds that layer has lost its skip "
        "connection; beyond the paper, the same with the skip connection in place."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
