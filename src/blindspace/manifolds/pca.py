"""Principal component analysis (Pearson 1901): the affine subspace nearest to a set of images, as a manifold."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from ..data import PrincipalComponents
from ..errors import ValueRangeError, integer
from ..subspaces import TangentBases, TangentSpaces
from .base import Manifold


class PCA(Manifold):
    """The affine subspace through the mean that leading principal components span; its tangent space is constant.

    Args:
        components: The principal components.
        dim: Number k of them.

    Raises:
        ValueRangeError: The images vary in fewer directions.
    """

    def __init__(self, components: PrincipalComponents, dim: int) -> None:
        most = components.rank
        if not 1 <= integer(dim, "the dimension", 1) <= most:
            raise ValueRangeError(f"the dimension must be from 1 to {most}, in which the images vary; got {dim}")
        self.mean, self.basis = components.mean, components.components[:dim]
        self.name, self.shape, self.latent_shape = f"PCA-{dim}", components.shape, (dim,)

    @classmethod
    def fit(cls, images: Tensor, dim: int) -> Self:
        """Fit to images, floating point ``(N, *shape)``. Errors are those of ``PrincipalComponents.of``."""
        return cls(PrincipalComponents.of(images), dim)

    def _encode(self, x: Tensor) -> Tensor:
        rows, mean = self.basis.flatten(1).to(x), self.mean.to(x)
        return (x - mean).flatten(1) @ rows.T

    def _decode(self, z: Tensor) -> Tensor:
        return (z @ self.basis.flatten(1).to(z)).view(-1, *self.shape) + self.mean.to(z)

    def _tangent(self, z: Tensor, points: Tensor) -> TangentSpaces:
        return TangentBases(self.basis[None].to(points.device), points)
