"""Artificial data: what the finished parts say, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..common.intervals import Estimate, of_mean
from ..parts import Parts
from .settings import ArtificialSettings


def mean(values: Sequence[float]) -> Estimate:
    """The mean over seeds with Student's interval."""
    found = torch.tensor(list(values), dtype=torch.float64)
    return Estimate(float(found.mean()), of_mean(found))


def _at_base(s: ArtificialSettings, done: Parts, cell: str, of: str) -> list[float]:
    found = [done[f"base-{seed}"].values[cell] for seed in range(s.seeds)]
    return [each[of] for each in found if each is not None]


def base(s: ArtificialSettings, done: Parts, cell: str, of: str = "natural") -> Estimate:
    """A figure at the base point: of what a second network learns from, ``natural`` or ``fresh``."""
    return mean(_at_base(s, done, cell, of))


def difference(s: ArtificialSettings, done: Parts, one: str, other: str, of: str = "natural") -> Estimate:
    """The mean difference of two cells at the base point over seeds, which share data and first network."""
    pairs = zip(_at_base(s, done, one, of), _at_base(s, done, other, of), strict=True)
    return mean([a - b for a, b in pairs])


def exact(s: ArtificialSettings, done: Parts) -> list[dict[str, float] | None]:
    """The exact solutions at the base point, for each seed; None where there is none."""
    return [done[f"base-{seed}"].values["exact, along q"] for seed in range(s.seeds)]


def point(s: ArtificialSettings, done: Parts, of: str, value: float, what: str) -> Estimate:
    """A plain figure at a point of a sweep."""
    return mean([each[what] for each in _at(s, done, of, value)])


def sweep(s: ArtificialSettings, done: Parts, of: str, value: float, norm: str, figure: str = "natural") -> Estimate:
    """A figure of the second network of a norm at a point of a sweep."""
    return mean([each[norm][figure] for each in _at(s, done, of, value)])


def _at(s: ArtificialSettings, done: Parts, of: str, value: float) -> list[dict[str, Any]]:
    place = list(s.sweep(of)).index(value)
    return [done[f"sweeps-{seed}"].values["sweeps"][of][place] for seed in range(s.sweep_seeds)]
