"""Figure 5b: accuracy against the magnitude of the least harmful perturbation, Gaussian noise beside it."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Fig5b, for_preset

EXPERIMENT: Experiment[Fig5b] = Experiment(
    name="fig5b",
    title="accuracy against the magnitude of the least harmful perturbation",
    source="figure 5b, section 3.3, lemma 2",
    question=(
        "Which perturbation affects a network least if its first layer has no harmless subspace? The least harmful "
        "perturbation, the right singular vector of the smallest singular value, is added to CIFAR-10 test images "
        "with growing magnitude, beside Gaussian noise of equal L∞ and of equal L2 norm; perturbed images leave "
        "[0, 1]. The paper's figure has no printed numbers."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
