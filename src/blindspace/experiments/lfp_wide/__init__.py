"""Wide two-layer networks: do perturbations point where theory says, and does a network that learns them agree?"""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import WideSettings, for_preset

EXPERIMENT: Experiment[WideSettings] = Experiment(
    name="lfp-wide",
    title="wide two-layer networks: predicted directions and agreement",
    source="Kumano et al. 2024 (arXiv 2410.23677), figures on synthetic data and MNIST",
    question=(
        "Do adversarial perturbations of wide two-layer networks point along Σ yₙ Φ(x, xₙ) xₙ, and does a network that "
        "is trained on perturbations with random labels agree with the first, by width, training time, size of the "
        "perturbations and loss? Both networks have a start and a readout of their own. The learning rate is fixed, "
        "while the published values are the best over a grid of rates, of one seed. Perturbations are one step along "
        "the gradient; they are taught alone, or on the samples they were made for. Beside each agreement stands its "
        "null distribution over seeds: that of networks taught noise of equal norm, or no perturbation, with the same "
        "labels. Samples of shifted Gauss are ±0.3 in every coordinate plus standard noise; MNIST is 1 against 2. "
        "Intervals are Student's, over seeds, which draw data, networks and labels anew."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
