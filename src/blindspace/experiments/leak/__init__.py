"""What hidden images give away: how recognisable they are made, by people's measures and by another network."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Leak, for_preset

EXPERIMENT: Experiment[Leak] = Experiment(
    name="leak",
    title="what hidden images give away",
    source="beyond the paper, on section 5.1 (recovering original images)",
    question=(
        "The paper says that the original of a hidden image cannot be uniquely determined, even by somebody who knows "
        "the network. How far does that go? Attackers with nothing, with 100 pairs and with the parameters recover "
        "images hidden by the largest harmless perturbation, and another network, which the images were not hidden "
        "from, classifies the results. Every choice is made in the attacker's favour."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "metrics"),
)
