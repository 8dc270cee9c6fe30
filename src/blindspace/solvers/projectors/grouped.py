"""Grouped and depthwise convolutions: block-diagonal over their groups, each a convolution with a solver of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ...maps import Convolution, LinearMap
from ..base import Solver
from ..rank.certificate import merge


def serves(operator: LinearMap) -> bool:
    """Whether the map is a convolution in more than one group."""
    return isinstance(operator, Convolution) and operator.groups > 1


class GroupedSolver(Solver):
    """One solver a group; groups of equal weights share one and are worked on as one batch.

    Args:
        conv: a ``Convolution`` for which ``serves`` holds.
        solve: makes the solver of one group's convolution.

    Raises:
        UnsupportedLayerError: it has only one group.
    """

    name = "grouped"

    def __init__(self, conv: Convolution, solve: Callable[[LinearMap], Solver]) -> None:
        if not serves(conv):
            raise UnsupportedLayerError(f"{conv} has only one group")
        super().__init__(conv)
        self.groups = conv.groups
        by_group = conv.weight.reshape(self.groups, -1, *conv.weight.shape[1:])
        distinct, of_group = torch.unique(by_group, dim=0, return_inverse=True)
        shape = (conv.weight.shape[1], *conv.in_shape[1:])
        self.blocks = [
            (
                (of_group == number).nonzero().flatten(),
                solve(Convolution(weight, shape, conv.stride, conv.padding, conv.dilation, 1, conv.mode)),
            )
            for number, weight in enumerate(distinct)
        ]
        self.certificate = merge((solver.certificate, len(groups)) for groups, solver in self.blocks)
        first = self.blocks[0][1]
        self.reason = f"{self.groups} groups, {len(self.blocks)} of them different; {first.name}: {first.reason}"

    def _project(self, x: Tensor) -> Tensor:
        return self._by_group(x, lambda solver, part: solver._project(part))

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, where every group's solver offers one.

        Args:
            b: ``(B, *out_shape)``, float64.

        Returns:
            The same shape.

        Raises:
            UnsupportedLayerError: one of them does not.
        """
        return self._by_group(b, lambda solver, part: solver.gram_inverse(part))

    def _by_group(self, x: Tensor, apply: Callable[[Solver, Tensor], Tensor]) -> Tensor:
        """``(B, groups · C, *spatial)``, each group's channels by its solver."""
        split = x.reshape(len(x), self.groups, x.shape[1] // self.groups, *x.shape[2:])
        result = torch.empty_like(split)
        for groups, solver in self.blocks:
            part = split[:, groups.to(x.device)]
            result[:, groups.to(x.device)] = apply(solver, part.flatten(0, 1)).reshape(part.shape)
        return result.reshape(x.shape)
