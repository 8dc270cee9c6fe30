"""Compensation of the source class beside features of the target: settings, first networks and sets."""

from __future__ import annotations

from dataclasses import dataclass

from ..common.classifier_cases import Case, by_seed
from ..parts import Preset, Settings

BLIND, KERNELS = "blind", 4
"""The kind of first networks that read ``KERNELS`` of 16 dimensions of each patch; their perturbations are the harmless
parts of those by an L∞ attack. The others' are whole perturbations by an L2 attack."""

OWN, SAME_TARGET = "x + d", "x + d of another image, same target"
INDEPENDENT = "x + d of any image, targets independent of x"
NO_SOURCE, NO_TARGET = "x + d without its source part", "x + d without its target part"
FLIPPED, FLIPPED_INDEPENDENT = "x − d", "x − d of any image, targets independent of x"
ALONE, OF_NOISE = "grey + d", "noise + d of the noise"
CODES, TARGET_CODES = "x + codes of target − source", "x + codes of the target"
NONE = "x"

CELLS = (
    OWN,
    SAME_TARGET,
    INDEPENDENT,
    NO_SOURCE,
    NO_TARGET,
    FLIPPED,
    FLIPPED_INDEPENDENT,
    ALONE,
    OF_NOISE,
    CODES,
    TARGET_CODES,
    NONE,
)
"""What students learn from, with the targets as labels. Codes are random patterns, which hold no feature of any class,
in noise that leaves them the share of the squared norm which classes explain of d."""


@dataclass(frozen=True)
class CompensationSettings(Settings):
    """Settings of the experiment.

    Attributes:
        makers: Data set and kind of the first networks: ``BLIND``, or a kind of small classifiers. Second networks have
            the same kind; those of ``BLIND`` are of the kind mlp.
        seeds: Number of first networks of each.
        images: Number of training images that are perturbed.
        steps: Steps of the attacks.
        epochs: Epochs of the students.
        batch: Images per step of the students.
        tests: Number of test images.
    """

    makers: tuple[tuple[str, str], ...] = (
        ("mnist", BLIND),
        ("fashion-mnist", BLIND),
        ("mnist", "mlp"),
        ("fashion-mnist", "mlp"),
    )
    seeds: int = 5
    images: int = 2500
    steps: int = 10
    epochs: int = 5
    batch: int = 64
    tests: int = 2000


def groups(s: CompensationSettings) -> list[tuple[Case, ...]]:
    """The first networks that differ by their seed only."""
    return [by_seed(dataset, kind, s.seeds) for dataset, kind in s.makers]


def for_preset(preset: Preset, seed: int) -> CompensationSettings:
    """The settings of a preset; smoke has two first networks and few images."""
    if preset == "smoke":
        return CompensationSettings(preset, seed, (("mnist", BLIND), ("mnist", "mlp")), 1, 60, 3, 2, 20, 60)
    if preset == "cpu":
        return CompensationSettings(preset, seed)
    makers = tuple((dataset, kind) for kind in (BLIND, "mlp", "convnet") for dataset in ("mnist", "fashion-mnist"))
    return CompensationSettings(preset, seed, makers, 5, images=30_000, steps=20, epochs=5, tests=10_000)
