"""Beyond the paper: the resizes of libraries as linear maps, compared with the libraries themselves."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import ResizersSettings, for_preset

EXPERIMENT: Experiment[ResizersSettings] = Experiment(
    name="resizers",
    title="the resizes of libraries as linear maps",
    source="beyond the paper",
    question=(
        "Every network that reads photographs resizes them first, and every library resizes in its own way. Is each "
        "way the linear map that it is taken for, one matrix along each axis? The libraries themselves resize images "
        "of random sizes, up and down, single rows and columns among them, in floating point and in eight bits; beside "
        "that stand the properties of the maps at two usual sizes."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
)
