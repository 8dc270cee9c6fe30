"""Beyond the papers: which library's resize a network begins with, from its outputs alone."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import ResizerIdentificationSettings, for_preset

EXPERIMENT: Experiment[ResizerIdentificationSettings] = Experiment(
    name="resizer-identification",
    title="which resize a network begins with",
    source="beyond the papers",
    question=(
        "From the outputs of a network alone, can it be told which library's resize stands in front of it, and to "
        "which size? Every resizer that is known stands once in front of a trained network: in real numbers, rounded "
        "to eight bits, and as the library itself resizes bytes. Names that stand for one map, up to what rounding "
        "hides, are one answer. Then the size is unknown too; of a larger picture the network reads the middle. "
        "The controls leave the right answer out of the candidates: then none may be named."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
)
