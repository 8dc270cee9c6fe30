"""A few clean labels beside perturbed samples with wrong ones."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import FewSettings, for_preset

EXPERIMENT: Experiment[FewSettings] = Experiment(
    name="lfp-few",
    title="a few clean labels beside perturbed samples: how many are needed",
    source="question 10 about Kumano et al. 2024 (arXiv 2402.10470)",
    question=(
        "A network learns from perturbed samples with their wrong targets (R: random; D: the class after the true one) "
        "and from a few clean images of each class with their true labels. Does it classify clean test images better "
        "than from the same clean images alone, and how many does it take? Controls are the same images with the same "
        "wrong labels and without perturbations, or with perturbations shuffled over all images: random wrong labels "
        "exclude a class each, so that they may teach beside clean ones. Clean images are repeated until they are as "
        "many as the perturbed ones, or alone as many as both; all students take the same number of steps. Intervals "
        "are over the attacked networks, each with a draw of clean images of its own."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
