"""Redundant dimensions: does a gap between the dimensions of data and input make networks fragile? Is there a cure?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import DmmRedundancy, for_preset

EXPERIMENT: Experiment[DmmRedundancy] = Experiment(
    name="dmm-redundancy",
    title="dimensions without data, and what their removal gives",
    source="beyond the paper; dimpled manifold model, section 5",
    question=(
        "Does a gap between the dimension of the data and that of the input make networks fragile? Codes of 16 "
        "dimensions are embedded isometrically in more and more dimensions and two-layer networks trained on them "
        "until every margin is 1; their initial weights have a variance that is the same per layer (1/n) or per "
        "weight (1/k). Descent never changes weights off the data, so that the gradient there is √(kℓσ²/m) for k "
        "active of m neurons, ℓ = n − 16 and the variance σ² (Melamed, Yehudai & Vardi 2023). Then perceptrons on "
        "MNIST read all pixels, images projected on principal components, or the coordinates along them: does the "
        "removal of dimensions without data give robustness (Haldar et al. 2024 say it gives less than it should)? "
        "Norms are L2, of images in [0, 1], without the pixel range; images that a network misclassifies are left "
        "out."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
