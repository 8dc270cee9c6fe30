"""Learning from random targets and from those that the true class determines, after Ilyas et al."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import IlyasSetsSettings, for_preset

EXPERIMENT: Experiment[IlyasSetsSettings] = Experiment(
    name="lfp-ilyas",
    title="random targets against targets that the true class determines, by the same and by another architecture",
    source="Ilyas et al. 2019 (arXiv 1905.02175), section 3.2",
    question=(
        "Networks N2 learn from perturbed images of N1 with their targets as labels: random among the other classes "
        "(D_rand; the published one includes the true class), or the class after the true one (D_det). How much of "
        "the classes of clean images does N2 know afterwards, if it has the architecture of N1 and if it has another? "
        "Beside the targets N2 learns the labels that N1 itself gives the perturbed images, which differ where the "
        "attack fails; without perturbations it learns the targets alone. How well the perturbations transfer is "
        "measured on networks that were trained on clean images. N1 and N2 share neither initial weights nor the order "
        "of images; accuracies are those after the last epoch, intervals are over the networks N1."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
