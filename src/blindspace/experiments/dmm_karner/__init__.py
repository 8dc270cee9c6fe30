"""The published reproduction of on- and off-manifold norms: its protocol, its selection, and the same without it."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import Karner, for_preset

EXPERIMENT: Experiment[Karner] = Experiment(
    name="dmm-karner",
    title="the published reproduction, with its selection and without",
    source="LukasKarner/dimpled-manifolds, the only published reproduction of arXiv 2106.10151, section 4",
    question=(
        "The reproduction reports median perturbations of 0.63 (plain), 1.50 (on the manifold) and 0.68 (off it) on "
        "MNIST. These are path lengths, iterations times step, of the 40 of 1041 images on which all three attacks "
        "succeed, the plain one within 50 steps. The same protocol is run here with that selection and without, "
        "beside the smallest norms of all images, and with principal components and a random subspace in place of the "
        "manifold. All figures are in its units, images in [−1, 1], which doubles those of [0, 1]."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
