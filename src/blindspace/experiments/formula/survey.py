"""Surveys of many layers: the value n − m of each, what is certified, and how often they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...maps import Convolution, LinearMap
from ...networks import Layer, measure
from ...solvers import PatchwiseSolver
from ..common.dimensions import by_pattern, error, meets_corollary_1, verdict
from ..parts import Parts

SMALL = 10_000
"""Numbers of inputs and outputs up to which the sparsity pattern of a wrong layer is examined."""


def survey_layer(layer: Layer, group: str, work: float) -> dict[str, Any]:
    """One layer, measured if it is not too large; whether corollary 1 applies, and what its sparsity pattern implies.

    Args:
        layer: Layer with a name fit for a table.
        group: Group that it is counted in.
        work: Floating-point operations it may take.

    Returns:
        Plain values; ``certificate`` is None if the layer was not measured.
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
    """Whether a layer takes at most ``work`` operations, dense, group by group; one patch or token stands for all."""
    if PatchwiseSolver.serves(operator):
        return True
    groups = operator.groups if isinstance(operator, Convolution) else 1
    n, m = operator.in_dim // groups, operator.out_dim // groups
    return groups * min(n, m) ** 2 * max(n, m) <= work


@dataclass(frozen=True)
class Tally:
    """The layers of a group; ``of`` are those that were measured."""

    group: str
    all: int
    of: list[dict[str, Any]]

    def those(self, *verdicts: str, meets: bool = False) -> list[dict[str, Any]]:
        """The layers with given verdicts; with ``meets`` only those to which corollary 1 applies."""
        return [each for each in self.of if verdict(each) in verdicts and (each["meets"] or not meets)]

    @property
    def within(self) -> int:
        """Number of layers to which corollary 1 applies."""
        return sum(each["meets"] for each in self.of)


def tallies(done: Parts, groups: Sequence[str]) -> list[Tally]:
    """Tallies in the order of the groups; groups without a measured layer are left out."""
    found = [layer for kept in done.values() for layer in kept.values["layers"]]
    by_group = {group: [layer for layer in found if layer["group"] == group] for group in groups}
    return [
        Tally(group, len(some), [each for each in some if each["certificate"]])
        for group, some in by_group.items()
        if any(each["certificate"] for each in some)
    ]
