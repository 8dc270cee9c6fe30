"""The derivative of a function at a point, its products by forward and reverse automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .linear_map import LinearMap, Shape


class Jacobian(LinearMap):
    """The Jacobian ``δ ↦ J(x) δ`` at a point x. For an affine function it is the linear part, at every point.

    Args:
        function: Function of one input, without a batch axis, made of torch's differentiable operations.
        in_shape: Shape of the input of the function.
        at: The point x, of that shape; zero if None.
        name: Name of the function, for messages.
        affine: Whether the function is known to be affine. Its products are then its differences, which serve where
            torch has no forward derivative.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        in_shape: Shape,
        at: Tensor | None = None,
        name: str = "function",
        affine: bool = False,
    ) -> None:
        self.at = torch.zeros(in_shape, dtype=torch.float64) if at is None else at.double()
        with torch.no_grad():
            super().__init__(in_shape, tuple(function(self.at).shape))
        self.function = function
        self.name = name
        self.affine = affine

    def __repr__(self) -> str:
        return f"Jacobian of {self.name}({self.in_shape} → {self.out_shape})"

    def _forward(self, x: Tensor) -> Tensor:
        at = self.at.to(x)
        if self.affine:
            return _each(self.function, x, self.out_shape) - self.function(torch.zeros_like(at))
        return _each(lambda row: torch.func.jvp(self.function, (at,), (row,))[1], x, self.out_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        pull = torch.func.vjp(self.function, self.at.to(y))[1]
        return _each(lambda row: pull(row)[0], y, self.in_shape)


def _each(function: Callable[[Tensor], Tensor], rows: Tensor, shape: Shape) -> Tensor:
    """A function of every row: of all at once where torch can batch its operations, else one after the other."""
    if not len(rows):
        return rows.new_zeros(0, *shape)
    warn = torch._C._functorch._set_vmap_fallback_warning_enabled  # type: ignore[attr-defined]
    warn(False)  # an operation without a rule for batches is as fast as in a loop
    try:
        return torch.func.vmap(function)(rows)
    except (RuntimeError, UnsupportedLayerError):
        return torch.stack([function(row) for row in rows])
    finally:
        warn(True)
