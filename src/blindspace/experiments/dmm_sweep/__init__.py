"""Equal dimension: attacks in the first, random and last k principal components, and in what is left of n − k."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import Sweep, for_preset

EXPERIMENT: Experiment[Sweep] = Experiment(
    name="dmm-sweep",
    title="on and off the manifold at equal dimension",
    source="dimpled manifold model (arXiv 2106.10151), section 4, and its critics; beyond the paper",
    question=(
        "Do attacks along the manifold cost more than those off it because of the manifold, or because it has fewer "
        "dimensions? Smallest perturbations are searched in the span of the first k principal components of the "
        "training images, of the last k, of the last k along which images vary at all, and of k random directions, and "
        "in the complement of each, for k up to half of the dimensions. Perturbations may leave the pixel range. The "
        "model compares k with n − k dimensions; its critics compare k with k."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
