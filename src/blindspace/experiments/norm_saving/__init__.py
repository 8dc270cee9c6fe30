"""Norm-saving: how much of an attack's norm is harmless, what puts it there, and the same attack without it."""

from ..experiment import Experiment
from .measure import parts
from .pictures import draw
from .report import claims, rows
from .settings import NormSaving, for_preset

EXPERIMENT: Experiment[NormSaving] = Experiment(
    name="norm-saving",
    title="how much of an attack's norm is harmless",
    source="beyond the paper; theorem 3, section 5.2",
    question=(
        "How much of an adversarial perturbation is harmless, and what puts it there? Attacks of our "
        "own, of foolbox and of AutoAttack are split by the harmless subspace of the network, or of a layer, into a "
        "harmless part and the rest, which has the same outputs and a smaller L2 norm. Shares and savings are of the "
        "attacks that succeed, on correctly classified images."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "attacks"),
)
