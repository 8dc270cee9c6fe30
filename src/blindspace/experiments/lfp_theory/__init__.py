"""How far the guarantee reaches: the exact solution, gradient descent and the condition, and learning from both."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows, verdicts
from .settings import TheorySettings, for_preset

EXPERIMENT: Experiment[TheorySettings] = Experiment(
    name="lfp-theory",
    title="how far the theory of learning from perturbations reaches",
    source="Kumano et al. 2024 (arXiv 2402.10470), sections 3 and 4; beyond the paper",
    question=(
        "The paper proves that a two-layer network with leaky ReLU has a linear boundary, that of a weighted sum q of "
        "its training samples, if these are nearly orthogonal; its own experiments violate the condition. How far does "
        "the result reach? The network of largest margin is computed exactly, by a quadratic programme in one "
        "multiplier per sample, and compared with gradient descent on 2000 points. The programme says by itself "
        "whether its solution is one of the network: where all samples have the activation pattern that it assumes. "
        "Then a second network learns from samples that are perturbed along q and carry wrong labels: does it find "
        "the boundary that the theory predicts, and the first one again? ρ is the size of the perturbations relative "
        "to √N_adv times the samples' norm: at random points the effect of the perturbations is ρ times that of the "
        "samples. Intervals are over points of all seeds (Wilson), or over seeds (Student)."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    verdicts=verdicts,
)
