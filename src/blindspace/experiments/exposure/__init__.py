"""Beyond the paper: how exposed the resizes of libraries are to image-scaling attacks."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import ExposureSettings, for_preset

EXPERIMENT: Experiment[ExposureSettings] = Experiment(
    name="exposure",
    title="how exposed the resize in front of a network is",
    source="beyond the paper",
    question=(
        "A picture can show people one thing and a network behind a resize another (Xiao et al. 2019). How much of the "
        "difference between two photographs need people not see, for every way to resize that is known, at several "
        "ratios? The exposure is 1 − ‖change‖ / ‖difference of the photographs‖, for the nearest picture in eight bits "
        "that the network reads as the other photograph; noise of the same norm is the control."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
)
