"""How much of learning from perturbations is compensation of the source class, and how much features of the target."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import CompensationSettings, for_preset

EXPERIMENT: Experiment[CompensationSettings] = Experiment(
    name="lfp-compensation",
    title="what networks learn from perturbations: features of the target, or to give back the source class",
    source="beyond Kumano et al. 2024 (arXiv 2402.10470)",
    question=(
        "A perturbation adds features of its target t and takes away those of its source class y. A network that "
        "learns t from the perturbed image can read the features of t; or it can read what is missing, and add from "
        "the image what was taken from it: then it answers y where nothing is added. The second needs the "
        "perturbation of this very image, and the first does not. So perturbations go to other images with the same "
        "target; to any images, with targets independent of their classes, so that the image says nothing about the "
        "target; to no image; onto noise. Their mean part by source class, or by target, is subtracted; their signs "
        "are flipped. Codes, random patterns that hold no features at all, compensate or do not. Perturbations are "
        "those of an L2 attack, or the harmless parts of an L∞ attack on networks whose first layer has a nullspace: "
        "there the visible part of a test image can teach by compensation alone. Labels are smoothed, which keeps "
        "networks learning. Accuracies are those on clean test images after the last epoch; intervals are over first "
        "networks, which share neither initial weights nor images' order with the others."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
