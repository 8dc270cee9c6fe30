"""Images that a decoder has written, whose tangent spaces are known exactly.

The control for every statement about a learned manifold: no image lies off it, and no encoder is needed (the generated
digits of Srinivas, Bordt & Lakkaraju 2023, section 5, and Bordt et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import integer
from ..subspaces import TangentSpaces
from ..subspaces._arguments import generator_or_none
from .base import Manifold


@dataclass(frozen=True)
class Generated:
    """Images on a manifold, with their latent coordinates.

    Attributes:
        manifold: The manifold.
        latents: Latent coordinates, ``(N, *latent_shape)``.
    """

    manifold: Manifold
    latents: Tensor

    @cached_property
    def images(self) -> Tensor:
        """The images, ``(N, *shape)``: what the decoder writes, not clipped to the pixel range."""
        with torch.no_grad():
            return torch.cat([self.manifold.decode(some) for some in self.latents.split(256)])

    def tangent(self, which: Tensor | slice = slice(None)) -> TangentSpaces:
        """The exact tangent spaces of the images at given indices."""
        return self.manifold.tangent_at(self.latents[which])

    def __len__(self) -> int:
        return len(self.latents)


def generate(manifold: Manifold, like: Tensor, count: int, generator: torch.Generator | None = None) -> Generated:
    """Draw latent coordinates from the normal distribution with mean and covariance of given images' coordinates.

    Args:
        manifold: The manifold.
        like: Images whose latent coordinates the distribution is fitted to, ``(N, *shape)``.
        count: Number of images to generate, at least 1.
        generator: Source of the randomness; torch's global generator if None.

    Raises:
        ValueRangeError: ``count`` is below 1.
        ShapeError: ``like`` has another shape.
    """
    count, generator = integer(count, "the number of images", 1), generator_or_none(generator)
    with torch.no_grad():
        z = torch.cat([manifold.encode(some) for some in like.split(256)]).double().flatten(1)
    centred = z - z.mean(0)
    # The singular vectors carry the covariance also where it is singular.
    _, sigma, axes = torch.linalg.svd(centred, full_matrices=False)
    noise = torch.randn(count, len(sigma), generator=generator, dtype=torch.float64)
    drawn = z.mean(0) + noise @ (sigma[:, None] / max(len(z) - 1, 1) ** 0.5 * axes)
    return Generated(manifold, drawn.to(like.dtype).view(count, *manifold.latent_shape))
