"""Learning from perturbations on and off the image manifold: settings, first networks and sets."""

from __future__ import annotations

from dataclasses import dataclass

from ...manifolds import CONTROLS
from ..common.classifier_cases import GREY, Case, by_seed
from ..common.perturbation_parts import OFF, ON
from ..parts import Preset, Settings

WHOLE, NONE = "x + d", "x"

ALONG = {name: f"x + part along {name}" for name in CONTROLS}
"""Students of the part in each subspace of equal dimension, by the control's name."""

CELLS = (WHOLE, ON, OFF, *ALONG.values(), NONE)
"""What students learn from, with the targets as labels. What is added to an image has the norm of its perturbation."""

IMAGES, NOISE = "images", "noise"

BASES = (IMAGES, NOISE)
"""What is perturbed: images, with random targets that are never the true class, or uniform noise, with any targets."""


@dataclass(frozen=True)
class OnOffSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the first networks; second ones have the same kind and other seeds.
        seeds: Number of first networks of each.
        images: Number of images, and of noise, that are perturbed.
        eps: L2 radius of the perturbations, in units of the pixel range.
        steps: Steps of the attack.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str], ...] = (("mnist", "mlp"),)
    seeds: int = 3
    images: int = 2500
    eps: float = 2.0
    steps: int = 10
    epochs: int = 4
    batch: int = 64
    tests: int = 2000


def groups(s: OnOffSettings) -> list[tuple[Case, ...]]:
    """The first networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.makers]


def for_preset(preset: Preset, seed: int) -> OnOffSettings:
    """The settings of a preset; smoke has one small network and few images."""
    if preset == "smoke":
        return OnOffSettings(preset, seed, (("mnist", "mlp"),), 1, 60, steps=3, epochs=2, batch=20, tests=60)
    if preset == "cpu":
        return OnOffSettings(preset, seed, (("mnist", "mlp"), ("fashion-mnist", "mlp")))
    return OnOffSettings(preset, seed, GREY, 5, images=60_000, steps=100, epochs=10, tests=10_000)
