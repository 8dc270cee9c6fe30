"""Learning MNIST from wrong labels: whether features of the target teach, and how much the best epoch flatters."""

from __future__ import annotations

from ..learning.controls import NONE, PERMUTED, SAME_TARGET
from .common.relearning.experiment import relearning_experiment
from .common.relearning.report import CONTROL, best_cells, best_row, effect_row, found
from .common.relearning.settings import FULL, R_L2, RelearningSettings, at_scale
from .experiment import Verdict
from .parts import Parts

MUCH = 0.05
"""A best epoch that is better by this is much better."""


def verdicts(s: RelearningSettings, done: Parts) -> list[Verdict]:
    """Whether features of the target class teach, and whether the last epoch is much worse than the best."""
    if s.preset == "smoke":
        return [Verdict("features", None, []), Verdict("best-epoch", None, [])]
    g = found(s, done)
    same, permuted = effect_row(g, SAME_TARGET), effect_row(g, PERMUTED)
    rows = [g.row(at_scale(R_L2, s)), g.row(CONTROL[NONE], control=True), same, permuted]
    features, without = (row.ours is not None and row.ours >= 0.5 for row in (same, permuted))
    by_features = Verdict(
        "features",
        "depends" if features == without else "holds" if features else "does not hold",
        rows,
        "the part of the perturbation" if features == without else "",
        "perturbations of other images with the same target keep the features of the target, and say nothing of the "
        "image's own class; permuted in their pixels they keep what they say of both classes, in a form that no clean "
        f"image has. Of noise, without any class to be removed, features do teach: {g.accuracy('noise-L2')}",
    )
    losses = {cell: best_row(g, cell) for cell in best_cells(s)}
    worse = [cell for cell, row in losses.items() if row.ours is not None and row.ours > MUCH]
    worst = max(losses.values(), key=lambda row: row.ours or 0.0)
    shown = [*(losses[at_scale(each, s)] for each in FULL), worst]
    best = Verdict(
        "best-epoch",
        "does not hold" if not worse else "holds" if len(worse) == len(losses) else "depends",
        list({row.case: row for row in shown}.values()),
        "the set" if worse and len(worse) < len(losses) else "",
        f"worse by more than {MUCH} in {len(worse)} of {len(losses)} sets, with a learning rate that falls to 0 "
        "(theirs falls on plateaus: R-L0 ends near .27 after .50 in their notebooks)",
    )
    return [by_features, best]


EXPERIMENT = relearning_experiment("lfp-mnist", "mnist", verdicts)
