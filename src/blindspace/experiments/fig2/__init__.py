"""Figure 2: dimension of the harmless subspace of the first layer against the size of its output."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Fig2, for_preset

EXPERIMENT: Experiment[Fig2] = Experiment(
    name="fig2",
    title="dimension of the harmless subspace against the output's size",
    source="figure 2, corollaries 1 and 2, appendix F.1",
    question=(
        "How many dimensions of its input can the first layer of a network not see, when it is given more and more "
        "outputs? The paper says n − m, and 0 from n = m on; here the rank of every layer is certified, after a short "
        "training and at random weights. n is the size of the input, m of the output."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm"),
)
