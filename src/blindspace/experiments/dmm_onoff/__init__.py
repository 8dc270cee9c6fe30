"""On and off the manifold: where gradients lie, and how far the boundary is along the manifold and off it."""

from ..experiment import Experiment
from .answers import verdicts
from .measure import parts
from .pictures import draw
from .predictions import claims
from .report import rows
from .settings import OnOffSettings, for_preset

EXPERIMENT: Experiment[OnOffSettings] = Experiment(
    name="dmm-onoff",
    title="on and off the manifold, beside every subspace of equal dimension",
    source="dimpled manifold model (arXiv 2106.10151), section 4; beyond the paper",
    question=(
        "Are adversarial perturbations off the image manifold? The smallest perturbations that change the label are "
        "searched in all directions (plain), within a subspace of k dimensions (on) and within its complement (off), "
        "and the share of the gradient within it is measured. The subspace is the tangent space of an autoencoder, "
        "and every control of equal dimension: k of n dimensions alone have √(k/n) of a gradient's norm, and need "
        "√(n/k) times the plain norm. Norms are medians over all images, failures counted as infinite, in units of "
        "the pixel range [0, 1]; perturbations may leave it unless it is said. Share is ‖P g‖²/‖g‖² of the "
        "cross-entropy gradient g."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
