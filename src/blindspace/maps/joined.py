"""Sums and stacks of maps that read the same input; ``simplify`` merges parts of the same structure."""

from __future__ import annotations

from collections.abc import Sequence

import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .linear_map import LinearMap


class Summed(LinearMap):
    """The sum ``x ↦ A₁ x + A₂ x + …``: branches of a network that meet again.

    Args:
        parts: Maps with the same input shape and the same output shape; at least one.

    Raises:
        ShapeError: There are no maps, or their shapes differ.
    """

    def __init__(self, parts: Sequence[LinearMap]) -> None:
        shapes = {(part.in_shape, part.out_shape) for part in parts}
        if len(shapes) != 1:
            raise ShapeError(f"maps to be added must have the same shapes, got {sorted(shapes) or 'no maps'}")
        super().__init__(parts[0].in_shape, parts[0].out_shape)
        self.parts = list(parts)
        self.device = parts[0].device

    def _forward(self, x: Tensor) -> Tensor:
        return sum((part._forward(x) for part in self.parts[1:]), self.parts[0]._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return sum((part._adjoint(y) for part in self.parts[1:]), self.parts[0]._adjoint(y))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        total = self.parts[0].to_scipy()
        for part in self.parts[1:]:
            total = scipy.sparse.csr_array(total + part.to_scipy())
        return total


class VStack(LinearMap):
    """The stack ``x ↦ (A₁ x, A₂ x, …)``, outputs flattened. Its nullspace is the intersection of theirs.

    Args:
        parts: Maps with the same input shape; at least one.

    Raises:
        ShapeError: There are no maps, or their input shapes differ.
    """

    def __init__(self, parts: Sequence[LinearMap]) -> None:
        shapes = {part.in_shape for part in parts}
        if len(shapes) != 1:
            raise ShapeError(f"stacked maps must read one input shape, got {sorted(shapes) or 'no maps'}")
        super().__init__(shapes.pop(), (sum(part.out_dim for part in parts),))
        self.parts = list(parts)
        self.device = parts[0].device

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
