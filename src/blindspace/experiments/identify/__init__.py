"""Beyond the paper: which of several networks one is, by perturbations that only that one cannot see."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Identify, for_preset

EXPERIMENT: Experiment[Identify] = Experiment(
    name="identify",
    title="which network it is, by what it cannot see",
    source="beyond the paper; section 5.2 has the perturbations",
    question=(
        "Can a network be identified by its outputs alone? A probe is an image with noise from the nullspace of one "
        "candidate; its control has white noise of the same norm. A network is identified as the one candidate whose "
        "probes change its outputs by at most a thousandth of what their controls do. Besides the candidates, copies "
        "of the shipped network are queried that are modified as deployed ones are."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
