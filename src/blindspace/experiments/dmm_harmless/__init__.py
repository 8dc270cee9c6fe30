"""The harmless subspace and the manifold: does what a network provably cannot notice lie off the manifold of images?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import DmmHarmless, for_preset

EXPERIMENT: Experiment[DmmHarmless] = Experiment(
    name="dmm-harmless",
    title="what a network provably cannot notice, and the manifold of images",
    source="beyond the paper; joins it with the dimpled manifold model",
    question=(
        "Does the nullspace of a network's affine front lie off the manifold of images? The harmless share of a "
        "random direction in the tangent spaces of an autoencoder is compared with that of random subspaces of equal "
        "dimension; it is the same number, over chance, as the share along the manifold of a random harmless "
        "direction. Controls: tangent spaces of other images and with permuted pixels, principal components, low "
        "frequencies, and untrained networks. Then the harmless shares of differences of images, of what the "
        "autoencoder leaves out, and of an L∞ attack and its parts on and off the manifold (an L2 attack has none: "
        "gradients are orthogonal to the nullspace)."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
