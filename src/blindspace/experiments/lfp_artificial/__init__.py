"""Artificial data: does a network that learns from perturbed noise classify the natural samples?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import ArtificialSettings, for_preset

EXPERIMENT: Experiment[ArtificialSettings] = Experiment(
    name="lfp-artificial",
    title="learning from perturbed noise on artificial data",
    source="Kumano et al. 2024 (arXiv 2402.10470), the experiments on artificial data",
    question=(
        "A two-layer network learns N random samples of d values with random labels. Noise is perturbed towards random "
        "targets; a second network, with its own initial weights, learns the targets from N_adv samples of it. "
        "Does it classify the natural samples, which it has never seen? Along d, N, N_adv and the size ε of the "
        "perturbations, in three norms, along the direction of the theory and by attacks. "
        "The sizes are a tenth of the published ones, at equal ratios; the published size belongs to the preset "
        "paper, which needs a GPU. All networks are trained by descent on the logarithm of the loss, 100 steps instead "
        "of 100,000 epochs; exact solutions stand beside it where they exist. Natural accuracy is on the samples of "
        "the first network, since labels are random: there is no test set. Intervals are over seeds (Student)."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
