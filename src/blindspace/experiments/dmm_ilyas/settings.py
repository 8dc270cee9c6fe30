"""Learning from adversarial examples: settings, and the sets that students learn from."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import GREY, Case, by_seed
from ..common.perturbation_parts import OFF, ON
from ..parts import Preset, Settings

WHOLE = "x + d"
ANOTHER, PCA, RANDOM = "x + part along another image's tangent", "x + part along PCA", "x + part in a random subspace"
SHUFFLED, FLIPPED, ALONE = "x + d of another image, same target", "x − d", "grey + d"
NONE, CLEAN = "x", "x, with its true label"

CELLS = (WHOLE, ON, OFF, ANOTHER, PCA, RANDOM, SHUFFLED, FLIPPED, ALONE, NONE, CLEAN)
"""What students learn from, with the targets as labels unless it is said. Perturbations of an image have one norm."""

CONTROLS = (ANOTHER, PCA, RANDOM, SHUFFLED, FLIPPED, ALONE, NONE, CLEAN)

MEASURED = (WHOLE, ON, OFF, CLEAN)
"""Students whose robustness and gradients are measured too."""


@dataclass(frozen=True)
class IlyasSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the networks N1; students N2 have the same kind and other initial weights.
        seeds: Number of networks N1 of each.
        images: Number of training images that are perturbed.
        eps: L2 radius of the perturbations, in units of the pixel range.
        steps: Steps of targeted PGD, each of length eps / 4.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        count: Number of test images whose smallest perturbations are searched.
        tests: Number of test images for accuracies.
    """

    makers: tuple[tuple[str, str], ...] = GREY
    seeds: int = 3
    images: int = 6000
    eps: float = 2.0
    steps: int = 10
    epochs: int = 6
    batch: int = 64
    count: int = 100
    tests: int = 10_000


def groups(s: IlyasSettings) -> list[tuple[Case, ...]]:
    """The networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.makers]


def for_preset(preset: Preset, seed: int) -> IlyasSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return IlyasSettings(preset, seed, (("mnist", "mlp"),), 1, 60, steps=3, epochs=2, batch=20, count=6, tests=60)
    if preset == "cpu":
        return IlyasSettings(preset, seed)
    return IlyasSettings(preset, seed, seeds=5, images=60_000, steps=100, count=500)
