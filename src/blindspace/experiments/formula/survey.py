"""Surveys of many layers: what n − m says of each, what is certified, and how often they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...maps import Convolution, LinearMap
from ...networks import Layer, measure
from ...solvers import PatchwiseSolver
from ..common.dimensions import by_pattern, error, meets_corollary_1, verdict
from ..experiment import Parts

SMALL = 10_000
"""Inputs and outputs up to which the pattern of a wrong layer is looked at."""


def ask(layer: Layer, group: str, work: float) -> dict[str, Any]:
    """One layer, measured if it is not too large; whether corollary 1 speaks of it, and what its pattern alone says.

    Args:
        layer: with a name fit for a table.
        group: that it is counted in.
        work: floating-point operations it may take.

    Returns:
        Plain values; ``certificate`` is None of a layer that was not measured.
    """
    operator = layer.operator
    known: dict[str, Any] = {"group": group, "name": layer.name, "in_dim": operator.in_dim, "out_dim": operator.out_dim}
    if not affordable(operator, work):
        return known | {"certificate": None}
    found = next(iter(measure([layer], thorough=True))).to_dict()
    known |= {key: found[key] for key in ("dim", "formula_dim", "certificate", "reason", "in_shape")}
    known["meets"] = meets_corollary_1(operator)
    if known["certificate"] and error(known) and max(operator.in_dim, operator.out_dim) <= SMALL:
        known["pattern"] = by_pattern(operator)
    return known


def affordable(operator: LinearMap, work: float) -> bool:
    """Whether a layer takes no more than ``work`` operations, dense, group by group; one patch or token serves all."""
    if PatchwiseSolver.serves(operator):
        return True
    groups = operator.groups if isinstance(operator, Convolution) else 1
    n, m = operator.in_dim // groups, operator.out_dim // groups
    return groups * min(n, m) ** 2 * max(n, m) <= work


@dataclass(frozen=True)
class Tally:
    """What a group of layers came to; ``of`` are those that were measured."""

    group: str
    all: int
    of: list[dict[str, Any]]

    def those(self, *verdicts: str, meets: bool = False) -> list[dict[str, Any]]:
        """The layers of those verdicts; ``meets``: only where corollary 1's conditions hold."""
        return [each for each in self.of if verdict(each) in verdicts and (each["meets"] or not meets)]

    @property
    def within(self) -> int:
        """Layers for which corollary 1's conditions hold."""
        return sum(each["meets"] for each in self.of)


def tallies(done: Parts, groups: Sequence[str]) -> list[Tally]:
    """By group, in their order; those without a layer left out."""
    found = [layer for kept in done.values() for layer in kept.values["layers"]]
    by_group = {group: [layer for layer in found if layer["group"] == group] for group in groups}
    return [
        Tally(group, len(some), [each for each in some if each["certificate"]])
        for group, some in by_group.items()
        if any(each["certificate"] for each in some)
    ]
