"""What an experiment is: a table or figure of a paper, made of parts that are kept one by one.

An experiment says its settings, the parts its work falls into, the rows and claims that follow from the finished
parts, and how to draw them. Everything else (keeping, resuming, writing, tables, the page) is done for it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ..networks import Network
from .common.models import Preset, Report


@dataclass(frozen=True)
class Settings:
    """What every experiment is told; each adds its own.

    Attributes:
        preset: smoke, cpu or paper.
        seed: of everything random.
    """

    preset: Preset
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def generator(self, *what: object) -> torch.Generator:
        """Randomness for one purpose, the same whatever was drawn before for others."""
        return torch.Generator().manual_seed(seed_of(self.seed, *what))


def seed_of(seed: int, *what: object) -> int:
    """A seed for one purpose, out of the experiment's and the purpose's name."""
    return int.from_bytes(sha256(repr((seed, *map(str, what))).encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Kept:
    """What a finished part leaves.

    Attributes:
        values: plain values for JSON: numbers, words, lists and dictionaries of them; no NaN.
        arrays: tensors by name, for pictures and for later parts.
    """

    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)


Parts = Mapping[str, Kept]
"""Finished parts by name, in their order."""


@dataclass(frozen=True)
class Part:
    """A piece of work that is kept when it is finished; minutes rather than hours.

    Attributes:
        name: unique in its experiment; letters, digits, ``-``, ``_``, ``.``.
        run: does it. It draws all its randomness from the settings, so that it comes out the same whenever it is run.
    """

    name: str
    run: Callable[[Report], Kept]


@dataclass(frozen=True)
class Row:
    """One figure of a result.

    Attributes:
        case: what it is measured on, such as "ResNet-50, harmless, 32ε".
        quantity: what is measured, such as "RMSE of outputs".
        ours: as measured; None if it was not run.
        paper: the paper's figure, where it has one.
        interval: of 95 %, where there is randomness.
        control: whether this is a control, and no result.
        reason: why ours differs from the paper's, or was not run.
        form: how the figures are written, as of ``format``.
    """

    case: str
    quantity: str
    ours: float | None
    paper: float | None = None
    interval: tuple[float, float] | None = None
    control: bool = False
    reason: str = ""
    form: str = ".4g"

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        interval = None if self.interval is None else list(self.interval)
        return {**asdict(self), "interval": interval, "difference": self.difference}


@dataclass(frozen=True)
class Claim:
    """Something that the result shows, or does not.

    Attributes:
        text: what is claimed, with the figures that decide.
        holds: whether it does; None if the preset is too small to tell.
    """

    text: str
    holds: bool | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Experiment(Generic[S]):
    """A table or figure, and how it comes about.

    Attributes:
        name: as given to ``blindspace reproduce``.
        title: one line.
        source: table, figure or section of which paper; "beyond the paper" otherwise.
        question: what is asked and how it is answered, in two or three sentences for who has not read the paper.
        settings: from a preset and a seed.
        parts: the work; in order, none depends on a later one.
        rows: what was found, the paper's figures beside ours.
        claims: what follows.
        draw: writes pictures (``.png``) into a folder, under 500 kB each.
        extras: of the package, that it needs.
    """

    name: str
    title: str
    source: str
    question: str
    settings: Callable[[Preset, int], S]
    parts: Callable[[S], Sequence[Part]]
    rows: Callable[[S, Parts], Sequence[Row]]
    claims: Callable[[S, Parts], Sequence[Claim]]
    draw: Callable[[S, Parts, Path], None]
    extras: tuple[str, ...] = ("plot",)


@dataclass(frozen=True)
class Result:
    """What an experiment came to.

    Attributes:
        name: of the experiment.
        title: of it.
        source: of it.
        question: of it.
        settings: all of them.
        versions: of what computed it.
        networks: what is known of the networks it was done on (see ``about``).
        rows: what was found.
        claims: what follows.
        pictures: names of the files drawn.
    """

    name: str
    title: str
    source: str
    question: str
    settings: dict[str, Any]
    versions: dict[str, str]
    networks: list[dict[str, Any]]
    rows: list[Row]
    claims: list[Claim]
    pictures: list[str]

    @property
    def holds(self) -> bool:
        """Whether no claim fails."""
        return all(claim.holds is not False for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        rows, claims = [row.to_dict() for row in self.rows], [claim.to_dict() for claim in self.claims]
        return {**asdict(self), "rows": rows, "claims": claims}


def about(network: Network) -> dict[str, Any]:
    """What a result says of a network it was done on; a part keeps it as its value ``network``."""
    recipe = network.card.get("recipe") or {}
    return {
        "name": network.name,
        "dataset": network.card.get("dataset"),
        "test_accuracy": network.card.get("test_accuracy"),
        "epochs": recipe.get("epochs"),
        "seed": recipe.get("seed"),
        "sha256": network.card.get("sha256"),
    }
