"""Content of perturbations: whether those along the manifold look like what they are taken for."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import ContentSettings, for_preset

EXPERIMENT: Experiment[ContentSettings] = Experiment(
    name="dmm-content",
    title="whether perturbations along the manifold look like content",
    source="dimpled manifold model (arXiv 2106.10151), sections 4 and 5; beyond the paper",
    question=(
        "Do perturbations along the image manifold resemble the class that they are taken for, as the model says, and "
        "those off it not? Independent networks are asked, of another seed, of another architecture, and adversarially "
        "trained. Each smallest perturbation that changes the label of the attacked network is scaled to one norm, "
        "the same for all subspaces, and an observer agrees where it sees the attacked network's new label. Beside the "
        "tangent space (on) and its complement (off) stand controls of the tangent space's dimension. Perturbed images "
        "may leave the pixel range, which keeps perturbations in their subspace; agreement about the clipped images "
        "stands beside. Shares are of all images that every network classifies correctly, with intervals over images."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
