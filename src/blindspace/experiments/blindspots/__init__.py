"""Beyond the paper: from one image toward another of a different class while no output changes."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import Blindspots, for_preset

EXPERIMENT: Experiment[Blindspots] = Experiment(
    name="blindspots",
    title="from one class to another while no logit changes",
    source="beyond the paper; level set traversal (Balasubramanian et al. 2023)",
    question=(
        "Level set traversal leads from an image toward one of another class and keeps one number: the confidence in "
        "the image's class, to within 0.2. How far does a path lead along which no logit changes by more than 1e-6 of "
        "the largest, in float64, at the vertices and between them, and within [0, 1]? Both rules take the same pairs "
        "of test images, and of photographs, which differ in their labels and in what the network takes them for. How "
        "near is the end to the target, how similar are the two to look at, and how far do the logits move under the "
        "rule of one number? Beside it stand the distance at the start, the nearest point that differs from the image "
        "in the nullspace of the affine front alone, and the straight line from the image to the end of the path. "
        "Figures are medians over the pairs and the networks that differ in their seeds."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
    extras=("plot", "metrics"),
)
