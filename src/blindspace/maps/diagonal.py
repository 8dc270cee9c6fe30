"""Element-wise scaling: normalisation, batch norm in eval, a constant factor."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from .linear_map import Array, LinearMap, Shape, as_parameter


class Diagonal(LinearMap):
    """The element-wise product y = w ⊙ x, with a weight that is broadcast to the shape.

    Args:
        weight: Tensor that can be broadcast to ``shape``, such as ``(C, 1, 1)``; kept in float64.
        shape: Shape of one input and of one output.

    Raises:
        ShapeError: The weight cannot be broadcast to the shape.
    """

    def __init__(self, weight: Array, shape: Shape) -> None:
        super().__init__(shape, shape)
        self.weight = as_parameter(weight, "weight")
        try:
            fits = torch.broadcast_to(self.weight, self.in_shape).shape == self.in_shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ShapeError(f"a weight of shape {tuple(weight.shape)} does not broadcast to {self.in_shape}")

    def _forward(self, x: Tensor) -> Tensor:
        return x * self._cast("weight", x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y * self._cast("weight", y)

    def _to_scipy(self) -> scipy.sparse.csr_array:
        diagonal = np.broadcast_to(self.weight.numpy(), self.in_shape).ravel()
        return scipy.sparse.csr_array(scipy.sparse.diags_array(diagonal))
