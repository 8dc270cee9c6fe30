"""Learning from the labels of a network without any perturbation, after Wallace."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import WallaceSettings, for_preset

EXPERIMENT: Experiment[WallaceSettings] = Experiment(
    name="lfp-wallace",
    title="no perturbation at all: a network's errors, and its labels of another data set",
    source="Wallace 2019 (doi 10.23915/distill.00019.6) on Ilyas et al. 2019; beyond the paper",
    question=(
        "A second network N2 learns from images that nobody has perturbed, with labels of a network N1 that are wrong: "
        "the training images that a briefly trained N1 gets wrong, or the images of another data set, whose classes N1 "
        "has never seen. Does N2 classify clean test images of the first data set? If so, wrong labels teach without "
        "adversarial perturbations, because they say what N1 has learnt (distillation). Controls keep the images and "
        "take this away: labels shuffled among the errors of equal true class, or over all; labels of an untrained "
        "network and of one that was trained on shuffled labels. N1's labels of uniform noise show whether it takes "
        "images at all. N1 and N2 share neither initial weights nor the order of images. Accuracies are those after "
        "the last epoch, intervals are over seeds."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
