"""Learning from adversarial examples alone: which part of the perturbations teaches, on the manifold or off it."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import IlyasSettings, for_preset

EXPERIMENT: Experiment[IlyasSettings] = Experiment(
    name="dmm-ilyas",
    title="which part of adversarial perturbations teaches another network",
    source="dimpled manifold model (arXiv 2106.10151) on Ilyas et al. 2019; beyond the paper",
    question=(
        "A network N2 that is trained only on adversarial examples of N1 with their wrong target labels classifies "
        "clean images. Is it the part of the perturbations off the manifold that teaches it, as the model says, and is "
        "N2 better than N1? Targets are uniformly random among the wrong classes; perturbations are those of targeted "
        "L2-PGD in the pixel range. Each part is scaled to the norm of the whole perturbation, without clipping. N1 "
        "and N2 share neither initial weights nor images' order. Intervals of accuracies are over seeds, of networks "
        "after the last epoch."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
