"""Black-box attacks confined to what a network sees: queries to success against the same attack unconfined."""

from ..experiment import Experiment
from .measure import parts
from .report import claims, draw, rows
from .settings import Blackbox, for_preset

EXPERIMENT: Experiment[Blackbox] = Experiment(
    name="blackbox",
    title="queries of black-box attacks confined to what the network sees",
    source="beyond the paper",
    question=(
        "An attacker who sees scores alone tries random directions. If they are drawn from the d of n dimensions "
        "that the network's front sees, none is wasted on harmless ones: a step of the same length then should bring "
        "√(n/d) times as much. SimBA and NES, at equal L2 size and steps, on the same images with the same random "
        "numbers; against them low frequencies, which need no knowledge of the network, and a guess of what it sees: "
        "its resize alone, or the space of another network of the same stem."
    ),
    settings=for_preset,
    parts=parts,
    rows=rows,
    claims=claims,
    draw=draw,
    extras=("plot", "timm", "onnx"),
)
