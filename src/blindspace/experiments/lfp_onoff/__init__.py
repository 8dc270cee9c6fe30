"""What the parts of perturbations on and off the image manifold teach."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import OnOffSettings, for_preset

EXPERIMENT: Experiment[OnOffSettings] = Experiment(
    name="lfp-onoff",
    title="what the parts of perturbations on and off the image manifold teach, beside all controls",
    source="Kumano et al. 2024 (arXiv 2402.10470), joined with the dimpled manifold model; beyond both",
    question=(
        "Perturbations of images towards random wrong targets, and of uniform noise towards any targets, by an L2 "
        "attack, are split into the part along the tangent space of the image manifold, by an autoencoder, and the "
        "part off it. Networks learn the targets from the image or noise and one part alone, scaled to the norm of "
        "the whole without clipping. Controls are the parts along other subspaces of the same dimension: random "
        "ones, principal components, low frequencies, tangent spaces of other images and with permuted pixels. "
        "dmm-ilyas asks of the same split which part explains learning from adversarial examples. Accuracies are "
        "those on clean test images after the last epoch; intervals are over first networks, which share neither "
        "initial weights nor images' order with the others."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
