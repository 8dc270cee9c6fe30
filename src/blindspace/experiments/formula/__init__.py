"""Beyond the paper: how often n − m is not the dimension of what a layer cannot see."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Formula, for_preset

EXPERIMENT: Experiment[Formula] = Experiment(
    name="formula",
    title="how often n − m is not the dimension",
    source="beyond the paper; corollaries 1 and 2",
    question=(
        "The paper counts the dimensions a layer cannot see as n − m, inputs less outputs, and as 0 where n < m; "
        "of convolutions it asks that the kernels be linearly independent and no smaller than the stride. How often is "
        "that wrong for layers drawn at random, made by hand, trained, pruned and deployed, and how often although the "
        "conditions hold?"
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
)
