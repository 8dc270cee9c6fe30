"""Resize detection: images made for a resize among clean ones of every kind, and baselines beside."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import ResizeDetection, for_preset

EXPERIMENT: Experiment[ResizeDetection] = Experiment(
    name="resize-detection",
    title="photographs made for a resize",
    source="beyond the papers, on image-scaling attacks (Xiao and others 2019, Quiring and others 2020)",
    question=(
        "A network that resizes photographs without antialiasing reads few pixels, and can be shown another picture "
        "than people. Are such images found among clean ones that were compressed, sharpened, made noisy, reduced and "
        "enlarged, without knowing the resizer, and how do the known detectors do that are told it?"
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "metrics"),
)
