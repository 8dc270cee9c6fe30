"""Learning from perturbations against the success of the attacks that made them."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import SuccessSettings, for_preset

EXPERIMENT: Experiment[SuccessSettings] = Experiment(
    name="lfp-success",
    title="what is learnt from perturbations against how often they fool",
    source="Kumano et al. 2024 (arXiv 2402.10470), whose MNIST R-L∞ attacks hardly ever succeed; beyond the paper",
    question=(
        "Must a perturbation fool the first network to teach a second one? Images are perturbed towards random wrong "
        "targets by several attacks with several radii, and a network learns the targets of each set. Its accuracy on "
        "clean test images stands against the share of images in which the first network sees the target. Of one set "
        "networks also learn from the samples whose attack succeeded, from as many that failed, and from as many of "
        "both. First and second networks share no initial weights; intervals are over the first networks; "
        "accuracies are those after the last epoch."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
