"""Robust features in perturbed images: what a linear model learns from them, after Goh."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import LeakSettings, for_preset

EXPERIMENT: Experiment[LeakSettings] = Experiment(
    name="lfp-leak",
    title="whether robust features leak into perturbed images, and what targets fixed by the class teach",
    source="Goh 2019 (doi 10.23915/distill.00019.2) on Ilyas et al. 2019; beyond the paper",
    question=(
        "Perturbed images with random targets (R) may teach because each perturbation moves features that no small "
        "perturbation can reverse a little towards its target: robust features leak. Where the target is the class "
        "after the true one (D), robust features of the image point to a wrong answer, so that nothing of the kind can "
        "help. A linear model learns from ten features alone that are robust to half of the attack's L2 radius: each "
        "tells one class from the others, and minimises the exact worst case of the logistic loss over the ball, so "
        "that its margin on clean images certifies it. Beside it a linear model of all pixels learns from the same "
        "images, and a network from D. Controls take the place of the perturbations. Intervals are over the networks "
        "that make them."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
