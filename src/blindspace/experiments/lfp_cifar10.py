"""Learning CIFAR-10 from wrong labels, small: whether it extends to natural images."""

from __future__ import annotations

from ..learning.controls import NONE, SAME_TARGET
from .common.learnt import CHANCE, low
from .common.relearning.experiment import relearning_experiment
from .common.relearning.report import CONTROL, accuracies_of_first, effect_row, found
from .common.relearning.settings import FULL, RelearningSettings, at_scale
from .experiment import Verdict
from .parts import Parts


def verdicts(s: RelearningSettings, done: Parts) -> list[Verdict]:
    """Whether it extends to natural images; of deep networks a small one decides little."""
    if s.preset == "smoke":
        return [Verdict("deep", None, [])]
    g = found(s, done)
    none = g.accuracy(CONTROL[NONE]).value
    cells = ["R-L∞", *(at_scale(each, s) for each in FULL), "D-L2"]
    teaches = [low(g.accuracy(cell)) > max(CHANCE, none) for cell in cells]
    some = any(teaches) and not all(teaches)
    return [
        Verdict(
            "deep",
            "holds" if all(teaches) else "depends" if some else "does not hold",
            [*(g.row(cell) for cell in cells), g.row(CONTROL[NONE], control=True), effect_row(g, SAME_TARGET)],
            "how targets are chosen and on the attack" if some else "",
            f"networks of two hidden layers that classify {accuracies_of_first(g).mean():.2f} of the images; of deeper "
            "ones on natural images, which the authors report (R-L2 .775, R-L∞ .79), this says nothing",
        )
    ]


EXPERIMENT = relearning_experiment(
    "lfp-cifar10",
    "cifar10",
    verdicts,
    " The networks are small, of two hidden layers, and so are the sets: what a WideResNet-28-10 learns from 50,000 "
    "images in 200 epochs is far more.",
)
