"""Local principal component analysis: an atlas of affine pieces, each fitted to the neighbours of one image.

Known from Kambhatla & Leen 1997 and, as an estimate of tangent spaces, from Zhang & Zha 2004.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ValueRangeError, integer
from ..subspaces import TangentBases, TangentSpaces
from ..subspaces._arguments import floating
from .base import Manifold

BLOCK = 2**27
"""Largest number of values of a block of distances or neighbours."""


class LocalPCA(Manifold):
    """An affine piece per reference image: its nearest neighbours' mean and their leading principal components.

    An image belongs to the piece of the reference image nearest to it. Its latent coordinates are the number of that
    piece, followed by k coordinates on it.

    Args:
        images: The reference images, floating point ``(N, *shape)``.
        dim: Number k of components, at most ``neighbours`` − 1.
        neighbours: Number of nearest images that a piece is fitted to, the reference image included.

    Raises:
        ShapeError: ``images`` is not a floating-point batch.
        ValueRangeError: There are too few images or neighbours for the dimension.
    """

    def __init__(self, images: Tensor, dim: int, neighbours: int = 100) -> None:
        self.images = floating(images, "images", 2).detach()
        self._dim, self.neighbours = integer(dim, "the dimension", 1), integer(neighbours, "neighbours", 2)
        n = self.images[0].numel() if len(self.images) else 0
        if not self._dim < self.neighbours <= len(self.images) or self._dim > n:
            raise ValueRangeError(
                f"{dim} components need more neighbours, and as many images as neighbours; got {neighbours} neighbours "
                f"of {len(self.images)} images of {n} values"
            )
        self.name, self.shape = f"local PCA-{dim} of {neighbours} neighbours", tuple(self.images.shape[1:])
        self.latent_shape = (1 + self._dim,)

    @property
    def dim(self) -> int:
        """Dimension of each piece."""
        return self._dim

    def _nearest(self, x: Tensor, count: int) -> Tensor:
        """Indices of the nearest reference images, ``(B, count)``, the nearest first; ties by the lower index."""
        reference = self.images.to(x.device).double().flatten(1)
        rows = max(BLOCK // max(len(reference), 1), 1)
        found = []
        for some in x.double().flatten(1).split(rows):
            distances = torch.cdist(some, reference, compute_mode="donot_use_mm_for_euclid_dist")
            found.append(distances.sort(dim=1, stable=True).indices[:, :count])
        return torch.cat(found)

    def _pieces(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(B, n)`` and components ``(B, k, n)`` of pieces, float64."""
        chosen, piece = numbers.unique(return_inverse=True)
        rows = max(BLOCK // (self.neighbours * self.ambient_dim), 1)
        means, components = [], []
        for some in chosen.split(rows):
            near = self.images[self._nearest(self.images[some], self.neighbours)].double().flatten(2)
            mean = near.mean(1)
            components.append(torch.linalg.svd(near - mean[:, None], full_matrices=False).Vh[:, : self._dim])
            means.append(mean)
        return torch.cat(means)[piece], torch.cat(components)[piece]

    def _encode(self, x: Tensor) -> Tensor:
        numbers = self._nearest(x, 1)[:, 0]
        mean, rows = self._pieces(numbers)
        z = rows @ (x.double().flatten(1) - mean)[:, :, None]
        return torch.cat([numbers[:, None].double(), z[:, :, 0]], 1).to(x.dtype if x.dtype.itemsize >= 4 else None)

    def _decode(self, z: Tensor) -> Tensor:
        mean, rows = self._pieces(self._numbers(z))
        x = mean + (rows.mT @ z[:, 1:, None].double())[:, :, 0]
        return x.to(z.dtype).view(-1, *self.shape)

    def _tangent(self, z: Tensor, points: Tensor) -> TangentSpaces:
        _, rows = self._pieces(self._numbers(z))
        return TangentBases(rows.unflatten(2, self.shape), points)

    def _numbers(self, z: Tensor) -> Tensor:
        numbers = z[:, 0].detach().round().long()
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self.images):
            raise ValueRangeError(
                f"the first latent coordinate is the number of a piece, from 0 to {len(self.images) - 1}; got numbers "
                f"from {int(numbers.min())} to {int(numbers.max())}"
            )
        return numbers
