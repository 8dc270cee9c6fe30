"""The work of an experiment: its settings, and the parts that are kept one by one once they are finished.

What an experiment reports of finished parts stands in ``experiment.py``, which no part imports: a change of what is
reported throws nothing away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import Tensor

from ..networks import Network
from ..progress import Progress

Preset = Literal["smoke", "cpu", "paper"]
"""How much is computed: a minute on embedded images, under an hour on two cores, or the paper's own settings."""


@dataclass(frozen=True)
class Settings:
    """Settings that every experiment has; each adds its own.

    Attributes:
        preset: smoke, cpu or paper.
        seed: Seed of all randomness.
        device: Device of torch on which networks, images and subspaces are; random numbers are drawn on the CPU on
            every device. It is a setting because devices round differently: what one has finished is never mixed with
            what another computes.
    """

    preset: Preset
    seed: int = 0
    device: str = field(default="cpu", kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values for JSON."""
        return asdict(self)

    def generator(self, *what: object) -> torch.Generator:
        """A random generator for one purpose, independent of what has been drawn for others."""
        return torch.Generator().manual_seed(seed_of(self.seed, *what))


def seed_of(seed: int, *what: object) -> int:
    """A seed for one purpose, derived from the experiment's seed and the purpose's name."""
    return int.from_bytes(sha256(repr((seed, *map(str, what))).encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Kept:
    """What a finished part leaves behind.

    Attributes:
        values: Plain values for JSON: numbers, strings, lists and dictionaries of them; no NaN.
        arrays: Tensors by name, for pictures and for later parts.
    """

    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)


Parts = Mapping[str, Kept]
"""Finished parts by name, in their order."""


@dataclass(frozen=True)
class Part:
    """A piece of work that is kept once it is finished; it takes minutes rather than hours.

    Attributes:
        name: Unique within its experiment; letters, digits, ``-``, ``_``, ``.``.
        run: Does the work. It derives all its randomness from the settings, so that the result never depends on when it
            runs.
    """

    name: str
    run: Callable[[Progress], Kept]


def about(network: Network) -> dict[str, Any]:
    """The description of a network in a result; a part keeps it as its value ``network``."""
    recipe = network.card.get("recipe") or {}
    return {
        "name": network.name,
        "dataset": network.card.get("dataset"),
        "test_accuracy": network.card.get("test_accuracy"),
        "epochs": recipe.get("epochs"),
        "seed": recipe.get("seed"),
        "sha256": network.card.get("sha256"),
    }
