"""Table 1: how far outputs move under Gaussian noise, an attack, a harmless and the least harmful perturbation."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Table1, for_preset

EXPERIMENT: Experiment[Table1] = Experiment(
    name="table1",
    title="root mean squared error of the outputs",
    source="table 1, section 3.3",
    question=(
        "How far do a ResNet-50's outputs move when a perturbation of growing size is added to CIFAR-10 test images? "
        "The harmless perturbation is the parallel component of PGD-20 on the network with ten kernels in its first "
        "layer, scaled to ‖δ‖∞ = ε, as the attack is; the least harmful one is of the unmodified network, which has no "
        "harmless subspace. The paper does not say how it scales that one and the noise; here they are a unit vector "
        "times ε and N(0, 1) times ε, and equal norms stand beside."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
