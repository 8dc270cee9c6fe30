"""Gradients and norms on a manifold whose tangent spaces are known exactly: that of a decoder that wrote the images."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import ExactSettings, for_preset

EXPERIMENT: Experiment[ExactSettings] = Experiment(
    name="dmm-exact",
    title="gradients on a manifold that is known exactly",
    source="dimpled manifold model (arXiv 2106.10151), section 4; generated digits of arXiv 2305.19101",
    question=(
        "Is what is seen of the image manifold an artefact of a learned one? A variational autoencoder with ten "
        "latent variables, trained on MNIST padded to 32×32, writes the images, either from the latent variables of "
        "real digits (reconstructed) or from the normal distribution of these (sampled); a classifier of real digits "
        "labels them. So every image lies on the manifold, the range of the decoder's Jacobian is its tangent space "
        "exactly. Networks are trained on these images, and adversarially (L2), and their gradients and minimal norms "
        "measured. ‖P g‖/‖g‖ is the norm fraction of the cross-entropy gradient in the subspace, as the published "
        "figures are; chance is √(10/1024). An autoencoder trained on the generated images stands beside it: a "
        "manifold that is learned. Norms are those of minimal-norm attacks that may leave the pixel range, in units "
        "of [0, 1], failures counted as infinite."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
