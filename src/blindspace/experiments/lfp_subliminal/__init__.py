"""Does learning from perturbations need an initialisation or a readout that both networks share?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import SubliminalSettings, for_preset

EXPERIMENT: Experiment[SubliminalSettings] = Experiment(
    name="lfp-subliminal",
    title="learning from perturbations and subliminal learning: what both networks must share",
    source="Cloud et al. 2025 (arXiv 2507.14805), MNIST; beyond the paper",
    question=(
        "A student that imitates three auxiliary logits of a network on noise alone learns to classify digits, if it "
        "started from the same initial weights (subliminal learning). Is learning from perturbations the same effect? "
        "Students share with the network that made their samples the initial weights of the hidden layers and of the "
        "readout, or one of the two, or neither. They imitate its auxiliary logits on uniform noise, or are trained on "
        "its perturbed images, or on perturbed noise, with targets as labels. Networks are MLPs 784-256-256-13, of "
        "whose outputs the last three are never trained by the first network. Accuracies are those on the clean test "
        "images after the last epoch; intervals are Student's, over seeds."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
