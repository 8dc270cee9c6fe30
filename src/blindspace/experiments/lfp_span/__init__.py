"""Are adversarial perturbations sums of training samples, and what does that say?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import SpanSettings, for_preset

EXPERIMENT: Experiment[SpanSettings] = Experiment(
    name="lfp-span",
    title="how much of a perturbation the span of the training samples holds",
    source="Kumano et al. 2024 (arXiv 2402.10470), section 4; beyond the paper",
    question=(
        "Theory says that a perturbation is a weighted sum of training samples. With far fewer samples than values, "
        "which share of its squared length lies in their span, beside dim / n, which is the share of a random vector, "
        "that of the network before training, and that in the span of as many other images; and what is its cosine to "
        "the sum that the theory of wide two-layer networks predicts: by width, depth, training time, optimiser, scale "
        "of the start, and for ConvNets? And does it say anything: is it otherwise for networks that were trained on "
        "shuffled labels, from which nothing can be learnt? Perturbations are one step of targeted gradient descent on "
        "the cross-entropy, without clipping, of images that the network has not seen; another network learns the "
        "perturbed images with their targets and is asked for the true class of clean test images. Intervals are "
        "Student's, over seeds, which draw samples, start and targets anew."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
