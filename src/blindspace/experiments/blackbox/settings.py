"""Blackbox: settings, and the parts of the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.victims import ROBUST, has_guess, present, runs
from ..parts import Preset, Settings

CONTROLS = ("random subspace", "permuted", "harmless")
PUBLISHED = ("pixels", "cosines")
"""SimBA as published: one pixel value, or one wave of the cosine transform, at a time."""

KINDS = {
    "simba": ("unconfined", "effective", "guessed", "low frequencies", *PUBLISHED, *CONTROLS),
    "nes": ("unconfined", "effective", "low frequencies", "harmless"),
}
VALUES = 3 * 32 * 32
"""Number of values of an image for which ``size`` and ``step`` are given."""


@dataclass(frozen=True)
class Blackbox(Settings):
    """Settings of the black-box attacks.

    Attributes:
        networks: Victim models, with @ and the side of the images if they resize.
        present: Those outside the package that are available.
        count: Images per network, the first it classifies correctly.
        seeds: Attacks on each image; one for the controls.
        queries: Largest number of queries per image.
        size: L2 norm of the perturbation for 3072 values; proportional to the square root of their number.
        step: Step size of SimBA and smoothing radius of NES, scaled likewise.
        pairs: Antithetic pairs per step of NES.
        harmless_count: Images of the control that is confined to the harmless space.
        harmless_queries: Largest number of queries of SimBA there; NES has five times as many.
        draws: Number of bootstrap samples.
    """

    networks: tuple[str, ...] = (ROBUST, "resnet18-ten", "cifar-resnet", "cifar-resnet@96")
    present: tuple[str, ...] = ()
    count: int = 25
    seeds: int = 2
    queries: int = 1500
    size: float = 3.0
    step: float = 0.2
    pairs: int = 20
    harmless_count: int = 10
    harmless_queries: int = 50
    draws: int = 2000


def part_name(name: str, attack: str, kind: str) -> str:
    """Name of the part that keeps one attack on one network under one confinement."""
    return f"{name.replace('@', '-')}.{attack}.{kind.replace(' ', '-')}"


def victims(s: Blackbox) -> list[str]:
    """The victim models that are available."""
    return [name for name in s.networks if runs(name, s.present)]


def kinds_of(name: str, kinds: Sequence[str]) -> list[str]:
    """The kinds of confinement that a network has."""
    return [kind for kind in kinds if kind != "guessed" or has_guess(name)]


def parts_of(s: Blackbox) -> list[tuple[str, str, str]]:
    """Network, attack and kind of each part, in order."""
    return [
        (name, attack, kind) for name in victims(s) for attack, kinds in KINDS.items() for kind in kinds_of(name, kinds)
    ]


def for_preset(preset: Preset, seed: int) -> Blackbox:
    """The settings of a preset."""
    if preset == "smoke":
        return Blackbox(
            preset,
            seed,
            ("mnist-mlp",),
            count=6,
            seeds=1,
            queries=100,
            size=8.0,
            step=1.0,
            pairs=4,
            harmless_count=1,
            harmless_queries=4,
            draws=200,
        )
    if preset == "cpu":
        return Blackbox(preset, seed, present=present())
    networks = ("cifar-resnet", "cifar-resnet@64", "cifar-resnet@96", "resnet18-ten", "resnet50-ten", ROBUST)
    return Blackbox(preset, seed, networks, present(), count=1000, seeds=5, queries=10_000)
