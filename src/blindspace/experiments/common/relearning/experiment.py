"""Learning from mislabelled images: the experiment on one data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...experiment import Experiment, Verdict
from ...parts import Parts
from ..classifier_names import DATASETS
from .measure import parts
from .pictures import draw
from .report import claims, rows
from .settings import RelearningSettings, for_preset


def relearning_experiment(
    name: str, dataset: str, verdicts: Callable[[RelearningSettings, Parts], Sequence[Verdict]], more: str = ""
) -> Experiment[RelearningSettings]:
    """The experiment on a data set.

    Args:
        name: Its name.
        dataset: Name of the data set.
        verdicts: Its answers.
        more: What is particular to the data set, appended to the question.
    """
    return Experiment(
        name=name,
        title=f"networks that learn {DATASETS[dataset]} from wrong labels alone",
        source="Kumano et al. 2024 (arXiv 2402.10470), tables and figures of section 5; controls beyond the paper",
        question=(
            "A network is trained only on images that were perturbed until a first network sees a wrong class in them, "
            "with that class as label. How well does it classify clean test images, and what of the perturbations "
            "teaches it? R: random wrong targets; D: the next class; noise: uniform noise with random targets. L2 and "
            "L∞ by projected gradient descent, L0 by values that the pixel range lets change; and the same by the "
            "authors' own attacks. Controls put something else in the place of the perturbations of R-L2 and keep "
            "images, targets, initial weights and order. First and second network share no initial weights. No network "
            "has batch norm. Accuracies are those after the last epoch; intervals are over the first networks." + more
        ),
        settings=lambda preset, seed: for_preset(dataset, preset, seed),
        parts=parts,
        rows=rows,
        claims=claims,
        draw=draw,
        verdicts=verdicts,
    )
