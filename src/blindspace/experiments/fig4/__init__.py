"""Figure 4: contour map of what combinations of a perturbation's two components do to a layer and to the network."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Contour, for_preset

EXPERIMENT: Experiment[Contour] = Experiment(
    name="fig4",
    title="contour map of the effect of any perturbation",
    source="figure 4, section 4.2",
    question=(
        "What does a perturbation do when its two components are scaled each on its own? Rows share the orthogonal "
        "component, columns the parallel one. The paper shows the last linear layer; here what PGD-20 changes of the "
        "features is taken apart there, and its perturbation of the image at the first layer and for the whole "
        "network. Differences are relative to the largest output of the grid."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
