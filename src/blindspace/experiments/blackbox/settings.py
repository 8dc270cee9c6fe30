"""."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.victims import ROBUST, has_guess, present, runs
from ..experiment import Preset, Settings

CONTROLS = ("random subspace", "permuted", "harmless")
PUBLISHED = ("pixels", "cosines")
"""SimBA as it was published, one value or one wave of the cosine transform at a time."""

KINDS = {
    "simba": ("unconfined", "effective", "guessed", "low frequencies", *PUBLISHED, *CONTROLS),
    "nes": ("unconfined", "effective", "low frequencies", "harmless"),
}
VALUES = 3 * 32 * 32
"""Of an image that ``size`` and ``step`` are said for."""


@dataclass(frozen=True)
class Blackbox(Settings):
    """Settings of the black-box attacks.

    Attributes:
        networks: with @ and the side of the images they are resized from.
        present: those that are not part of the package, and here.
        count: images a network, the first it reads rightly.
        seeds: attacks on each image; of the controls one.
        queries: allowed an image.
        size: of the perturbation in L2, for 3072 values; for more in proportion to the square root of their number.
        step: step size of SimBA and search radius sigma of NES, scaled likewise.
        pairs: of NES, a step.
        harmless_count: images of the control that is confined to the harmless space.
        harmless_queries: allowed there to SimBA; to NES five times as many.
        draws: of the bootstrap.
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
    """Of the part that keeps one attack on one network, confined in one way."""
    return f"{name.replace('@', '-')}.{attack}.{kind.replace(' ', '-')}"


def asked(s: Blackbox) -> list[str]:
    """The networks that are here."""
    return [name for name in s.networks if runs(name, s.present)]


def kinds_of(name: str, kinds: Sequence[str]) -> list[str]:
    """Those kinds that a network has."""
    return [kind for kind in kinds if kind != "guessed" or has_guess(name)]


def parts_of(s: Blackbox) -> list[tuple[str, str, str]]:
    """Network, attack and kind of each part, in order."""
    return [
        (name, attack, kind) for name in asked(s) for attack, kinds in KINDS.items() for kind in kinds_of(name, kinds)
    ]


def for_preset(preset: Preset, seed: int) -> Blackbox:
    """Of a preset."""
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
