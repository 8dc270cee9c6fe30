"""Queries to success: what a black-box attack needed, how surely, and how that compares with what it should need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.victims import ROBUST, has_guess, runs
from ..experiment import Kept, Parts, Settings

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


def needed(kept: Kept, most: int) -> Tensor:
    """Queries to success, the whole budget where there was none, float64 ``(seeds, N)``."""
    return torch.where(kept.arrays["success"], kept.arrays["queries"], most).double()


def bootstrap(
    statistic: Callable[[Tensor], Tensor], images: int, draws: int, generator: torch.Generator
) -> tuple[float, float] | None:
    """Interval of 95 % of what is worked out from images, by drawing them again with replacement.

    Args:
        statistic: numbers of images ``(draws, N)`` to values ``(draws,)``.
        images: how many there are.
        draws: how many sets.
        generator: of them.
    """
    if images < 2:
        return None
    values = statistic(torch.randint(images, (draws, images), generator=generator))
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()
    return low, high


def ratio(s: Blackbox, done: Parts, name: str, attack: str, kind: str) -> tuple[float, tuple[float, float] | None]:
    """Mean queries of a kind over those unconfined, on the same images, with its interval."""
    own, free = (needed(done[part_name(name, attack, each)], s.queries).mean(0) for each in (kind, "unconfined"))
    interval = bootstrap(
        lambda chosen: own[chosen].mean(1) / free[chosen].mean(1), len(own), s.draws, s.generator("bootstrap", name)
    )
    return float(own.mean() / free.mean()), interval


def predicted(kept: Kept) -> float | None:
    """√(d / (n e)), e the gradient's share of energy in the subspace: what steps of a given length should need.

    A random direction of a subspace has a component of ‖P g‖/√d along the gradient g, of all of space ‖g‖/√n.
    """
    share, d, n = kept.arrays["share"], kept.values["d"], kept.values["n"]
    return float((d / n / share.clamp(min=1e-12)).sqrt().log().mean().exp()) if d is not None and len(share) else None


def described(name: str, kind: str, kept: Kept) -> str:
    """A kind in words, with its dimension."""
    d = kept.values["d"]
    if kind == "guessed":
        kind = "knowing the resize alone" if "@" in name else "another network's effective space"
    words = {"cosines": f"cosine waves, the lowest {kept.values['effective']}", "pixels": "single pixels"}
    return f"{words.get(kind, kind)} ({d} of {kept.values['n']})" if d is not None else words.get(kind, kind)
