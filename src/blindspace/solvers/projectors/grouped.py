"""Grouped and depthwise convolutions: block-diagonal over their groups, each a convolution with a solver of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap
from .._choose import choose
from ..base import Cost, Solver, register
from ..dense_algebra.blocks import groups
from ..rank.certificate import merge


@register
class GroupedSolver(Solver):
    """One solver per group; groups of equal weights share one and are processed as one batch.

    Args:
        operator: The convolution.
        solve: The function that makes the solver of one group's convolution.

    Raises:
        UnsupportedLayerError: The map is not a convolution in more than one group.
    """

    name = "grouped"
    scope = "convolutions in groups"
    how = "group by group"

    def __init__(self, operator: LinearMap, solve: Callable[[LinearMap], Solver] = choose) -> None:
        if not isinstance(operator, Convolution) or operator.groups == 1:
            raise UnsupportedLayerError(f"{operator} is not a convolution in more than one group")
        super().__init__(operator)
        self.groups = operator.groups
        self.blocks = [(numbers, solve(conv)) for conv, numbers in groups(operator)]
        self.certificate = merge((solver.certificate, len(numbers)) for numbers, solver in self.blocks)
        first = self.blocks[0][1]
        self.reason = f"{self.groups} groups, {len(self.blocks)} of them different; {first.name}: {first.reason}"

    @classmethod
    def serves(cls, operator: LinearMap) -> bool:
        """Whether the map is a convolution in more than one group."""
        return isinstance(operator, Convolution) and operator.groups > 1

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The memory depends on the groups' solvers, which limit it themselves."""
        return Cost(0, 40)

    def _project(self, x: Tensor) -> Tensor:
        return self._by_group(x, lambda solver, part: solver.project(part))

    def _diagonal(self) -> Tensor | None:
        found = [(numbers, solver.diagonal()) for numbers, solver in self.blocks]
        if any(diagonal is None for _, diagonal in found):
            return None
        result = torch.empty(self.groups, self.operator.in_dim // self.groups, dtype=torch.float64)
        for numbers, diagonal in found:
            assert diagonal is not None
            result[numbers] = diagonal.flatten()
        return result

    def _gram_inverse(self, b: Tensor) -> Tensor:
        return self._by_group(b, lambda solver, part: solver.gram_inverse(part))

    def _by_group(self, x: Tensor, apply: Callable[[Solver, Tensor], Tensor]) -> Tensor:
        """Images ``(B, groups · C, *spatial)``, each group's channels by its solver."""
        split = x.reshape(len(x), self.groups, x.shape[1] // self.groups, *x.shape[2:])
        result = torch.empty_like(split)
        for numbers, solver in self.blocks:
            part = split[:, numbers.to(x.device)]
            result[:, numbers.to(x.device)] = apply(solver, part.flatten(0, 1)).reshape(part.shape)
        return result.reshape(x.shape)
