"""The dimpled manifold model: clinging first and dimpling then, by a computed criterion."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import DmmPhases, for_preset

EXPERIMENT: Experiment[DmmPhases] = Experiment(
    name="dmm-phases",
    title="clinging and dimpling over training",
    source="dimpled manifold model (arXiv 2106.10151); toy problems of arXiv 2303.00783",
    question=(
        "Does the boundary first cling to the manifold and then dimple around the data? Measured over training: how "
        "far the boundary is along the manifold and off it, and which fraction of the gradient lies in the manifold, "
        "beside chance. A figure has two phases if it changes by at least a tenth up to a turning point and by as much "
        "back. Toy problems: 20 seeds each, with the component of the initial weights orthogonal to the data as drawn "
        "and a tenth of it. Images: 3 seeds, tangent spaces of an autoencoder of dimension 16, principal components, "
        "random subspaces and the pixels that never change."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
    extras=("plot", "report", "metrics"),
)
