"""Learning Fashion-MNIST from wrong labels: what the controls leave of it, and whether a few pixels suffice."""

from __future__ import annotations

from ..learning.controls import FLIPPED, NOISE, NONE, PERMUTED, SAME_TARGET, SHUFFLED
from .common.learnt import CHANCE, high, low
from .common.relearning.experiment import relearning_experiment
from .common.relearning.report import CONTROL, effect_row, found
from .common.relearning.settings import R_L2, RelearningSettings
from .experiment import Verdict
from .parts import Parts


def verdicts(s: RelearningSettings, done: Parts) -> list[Verdict]:
    """Whether a few pixels suffice, and whether every control does what features of the target would let it do."""
    if s.preset == "smoke":
        return [Verdict("sparse", None, []), Verdict("validated", None, [])]
    g = found(s, done)
    none = g.accuracy(CONTROL[NONE])
    random, fixed = (low(g.accuracy(cell)) > max(2 * CHANCE, none.value) for cell in ("R-L0", "D-L0"))
    sparse = Verdict(
        "sparse",
        "holds" if random and fixed else "depends" if random or fixed else "does not hold",
        [g.row(cell) for cell in ("R-L0", "R-L0 by the authors’ attack", "D-L0")]
        + [g.row(CONTROL[NONE], control=True)],
        "how targets are chosen" if random != fixed else "",
    )
    same = effect_row(g, SAME_TARGET)
    keeps = same.ours is not None and same.ours >= 0.5
    gone = {each: high(g.accuracy(CONTROL[each])) < 2 * CHANCE for each in (SHUFFLED, PERMUTED, NONE, NOISE)}
    validated = Verdict(
        "validated",
        "holds" if keeps and all(gone.values()) else "depends" if keeps or all(gone.values()) else "does not hold",
        [g.row(R_L2.name), same, *(g.row(CONTROL[each], control=True) for each in (*gone, FLIPPED))],
        "the control" if keeps != all(gone.values()) else "",
        "" if all(gone.values()) else f"{', '.join(each for each, is_gone in gone.items() if not is_gone)}: may teach",
    )
    return [sparse, validated]


EXPERIMENT = relearning_experiment("lfp-fashion", "fashion-mnist", verdicts)
