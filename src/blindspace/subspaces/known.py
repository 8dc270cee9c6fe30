"""Subspaces whose projector is known without a solver: by a formula, or by an orthonormal basis that is kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps import LinearMap, Shape
from ..maps.linear_map import DENSE_LIMIT
from ..solvers import Certificate
from ._arguments import floating
from .subspace import Complement, ProjectorMap, Subspace

ORTHONORMAL = 1e-10
"""Largest entry of the difference between the Gram matrix of an orthonormal basis and the identity."""


class Known(Subspace):
    """A subspace of known dimension whose projector is given by a formula.

    Args:
        shape: Shape of one perturbation.
        dim: Dimension of the subspace.
        projector: Orthogonal projector, ``(B, *shape)`` to the same, preserving the dtype.
    """

    solver = "formula"

    def __init__(self, shape: Shape, dim: int, projector: Callable[[Tensor], Tensor]) -> None:
        self.shape, self._dim, self._projector = shape, dim, projector
        rank = self.ambient_dim - dim
        self.certificate = Certificate(rank, "exact", "construction", 0.0, 1.0, 1.0 if rank else None, None)

    @property
    def dim(self) -> int:
        """The dimension."""
        return self._dim

    def _project(self, v: Tensor) -> Tensor:
        return self._projector(v)

    def annihilator(self) -> LinearMap:
        """The projector onto the complement."""
        return ProjectorMap(Complement(self))


class Spanned(Known):
    """The span of orthonormal vectors; a projection costs two matrix products.

    Args:
        vectors: Orthonormal vectors, float64 ``(k, *shape)``; k may be 0.

    Raises:
        ShapeError: ``vectors`` is not a floating-point tensor with at least two axes.
        ValueRangeError: The vectors are not orthonormal to 1e-10.
    """

    solver = "basis"

    def __init__(self, vectors: Tensor) -> None:
        rows = floating(vectors, "the basis", 2).detach().double().flatten(1)
        if len(rows) > rows.shape[1]:
            raise ShapeError(f"{len(rows)} vectors of {rows.shape[1]} values cannot be orthonormal")
        apart = float((rows @ rows.T - torch.eye(len(rows)).to(rows)).abs().max()) if len(rows) else 0.0
        if not apart <= ORTHONORMAL:
            raise ValueRangeError(
                f"the basis is not orthonormal: its Gram matrix differs from the identity by up to {apart:.2g}; "
                "span takes any vectors"
            )
        super().__init__(tuple(vectors.shape[1:]), len(rows), self._onto)
        self._rows = {(torch.float64, rows.device): rows}

    def _onto(self, v: Tensor) -> Tensor:
        # Products of half precision would lose what its inputs still hold.
        wide = v if v.dtype == torch.float64 else v.float()
        key = (wide.dtype, wide.device)
        if key not in self._rows:
            self._rows[key] = next(iter(self._rows.values())).to(wide)
        rows = self._rows[key]
        return ((wide.flatten(1) @ rows.T) @ rows).to(v.dtype).view(v.shape)

    def diagonal(self) -> Tensor:
        """As ``Subspace.diagonal``."""
        return self.basis().square().sum(0).clamp(0, 1)

    def basis(self, limit: float = DENSE_LIMIT) -> Tensor:
        """The vectors themselves, ``(k, *shape)``, float64, whatever the limit: they are kept."""
        return next(iter(self._rows.values())).view(-1, *self.shape).to(self.device)
