"""Several maps reading the same input: their outputs side by side. Its nullspace is the intersection of theirs."""

from __future__ import annotations

from collections.abc import Sequence

import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .convolution import Convolution
from .dense import Dense
from .linear_map import LinearMap


class VStack(LinearMap):
    """``x ↦ (A₁ x, A₂ x, …)``, every output flattened and one after the other.

    Args:
        parts: maps of one in_shape; at least one.

    Raises:
        ShapeError: there are none, or their inputs differ.
    """

    def __init__(self, parts: Sequence[LinearMap]) -> None:
        shapes = {part.in_shape for part in parts}
        if len(shapes) != 1:
            raise ShapeError(f"stacked maps must read one input shape, got {sorted(shapes) or 'no maps'}")
        super().__init__(shapes.pop(), (sum(part.out_dim for part in parts),))
        self.parts = list(parts)

    def _forward(self, x: Tensor) -> Tensor:
        return torch.cat([part._forward(x).flatten(1) for part in self.parts], 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        pieces = y.split([part.out_dim for part in self.parts], 1)
        total = torch.zeros(len(y), *self.in_shape, dtype=y.dtype, device=y.device)
        for part, piece in zip(self.parts, pieces, strict=True):
            total = total + part._adjoint(piece.reshape(-1, *part.out_shape))
        return total

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(scipy.sparse.vstack([part.to_scipy() for part in self.parts]))


def vstack(parts: Sequence[LinearMap]) -> LinearMap:
    """Maps side by side, those of one geometry as one map of all their kernels or rows; in some order.

    Args:
        parts: as of ``Stacked``.

    Raises:
        ShapeError: as of ``Stacked``.
    """
    groups: dict[object, list[LinearMap]] = {}
    for part in parts:
        groups.setdefault(_geometry(part), []).append(part)
    whole = [_one_of(group) for group in groups.values()]
    return whole[0] if len(whole) == 1 else VStack(whole)


def _geometry(operator: LinearMap) -> object:
    match operator:
        case Convolution(groups=1):
            return (
                operator.in_shape,
                operator.kernel,
                operator.stride,
                operator.padding,
                operator.dilation,
                operator.mode,
            )
        case Dense():
            return operator.in_shape
    return id(operator)


def _one_of(group: list[LinearMap]) -> LinearMap:
    match group:
        case [Convolution() as first, _, *_]:
            weight = torch.cat([each.weight for each in group if isinstance(each, Convolution)])
            return Convolution(weight, first.in_shape, first.stride, first.padding, first.dilation, 1, first.mode)
        case [Dense() as first, _, *_]:
            return Dense(torch.cat([each.matrix for each in group if isinstance(each, Dense)]), first.leading)
    return group[0]
