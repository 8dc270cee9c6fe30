"""Reach of the theory: what the finished parts say, over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import atan, pi
from typing import Any

import torch

from ..common.intervals import Estimate, of_mean, of_share
from ..parts import Parts
from .settings import KINDS, Case, TheorySettings

Values = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A case of the grid with one draw of the data.

    Attributes:
        case: The case.
        values: What was measured; of cases without a solution the condition alone.
    """

    case: Case
    values: Values

    @property
    def exact(self) -> bool:
        """Whether the programme has a solution, and this is one of the network."""
        return bool(self.values["solved"]) and bool(self.values["exact"])

    @property
    def condition(self) -> float:
        """Left side of the condition over the right one."""
        return float(self.values["condition"])

    @property
    def share(self) -> float:
        """Share of points on which descent agrees with the exact solution."""
        return float(self.values["agree"] / self.values["points"])


def named(s: TheorySettings, done: Parts, index: int) -> list[Values]:
    """What was measured of a named case, for each seed."""
    return [done[f"named-{index}-{seed}"].values for seed in range(s.seeds)]


def again(s: TheorySettings, done: Parts, index: int, ratio: float, wrong: bool) -> list[Values]:
    """What was measured of the second network of a named case, for each seed."""
    each = (values["again"] for values in named(s, done, index))
    return [run for runs in each for run in runs if run["ratio"] == ratio and run["wrong"] == wrong]


def cells(s: TheorySettings, done: Parts) -> list[Cell]:
    """The whole grid, with all seeds."""
    return [
        Cell(case, values)
        for index, kind in enumerate(KINDS)
        for seed in range(s.grid_seeds)
        for case, values in zip(s.grid(kind), done[f"grid-{index}-{seed}"].values["cells"], strict=True)
    ]


def agreement(runs: Iterable[Values]) -> Estimate:
    """Share of the points of all runs on which descent agrees with the exact solution."""
    some = list(runs)
    return share(sum(run["agree"] for run in some), sum(run["points"] for run in some))


def share(count: int, of: int) -> Estimate:
    """A proportion with Wilson's interval."""
    return Estimate(count / of, of_share(count, of)) if of else Estimate(0.0, None)


def mean(values: Iterable[float]) -> Estimate:
    """A mean over seeds with Student's interval."""
    found = torch.tensor(list(values), dtype=torch.float64)
    return Estimate(float(found.mean()), of_mean(found))


def expected(ratio: float) -> float:
    """Share of random points on which both boundaries agree, if the targets are random.

    With equal multipliers the effects of samples and perturbations at a random point are independent Gaussians, of
    sizes 1 and ρ.
    """
    return 1 - atan(1 / ratio) / pi


def violated(s: TheorySettings, done: Parts) -> list[Cell]:
    """The cells in which the condition does not hold and the programme has a solution."""
    return [cell for cell in cells(s, done) if cell.condition <= 1 and cell.values["solved"]]
