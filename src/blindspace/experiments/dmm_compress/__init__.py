"""Compression onto the manifold: is anything lost, does it defend, and does the distance from the manifold detect?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import DmmCompress, for_preset

EXPERIMENT: Experiment[DmmCompress] = Experiment(
    name="dmm-compress",
    title="classification after compression, and the distance from the manifold as a detector",
    source="dimpled manifold model, sections 2 and 5",
    question=(
        "Are images compressed without loss, is a network robust that classifies after compression, and does the "
        "distance from the manifold detect what is no image of the data set, and attacks? Test images are "
        "compressed by an autoencoder, by as many principal components, and, as controls, by low frequencies and a "
        "random subspace. Smallest perturbations are those of networks, of the same networks behind each "
        "compression (the attack sees both), and of networks within and off the tangent spaces; norms are L2, of "
        "images in [0, 1], without the pixel range. Detectors compare test images with those of another data set, "
        "blurred and noisy ones, attacked ones (by 1.1 of the smallest perturbation), and noise of the same norms."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
