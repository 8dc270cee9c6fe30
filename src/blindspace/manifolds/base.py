"""What a manifold of images is: an encoder, a decoder, and the tangent space at each image.

The image manifold of the dimpled manifold model is the range of a decoder (Shamir, Melamed & BenShmuel 2021, section
3). An image need not lie on it; its tangent space is that at the image's projection, decode(encode(x)).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import Any

import torch
from torch import Tensor

from .._html import table
from ..errors import ShapeError
from ..maps import Shape
from ..maps.linear_map import as_batch
from ..subspaces import TangentSpaces

CHUNK = 256
"""Images that are encoded or decoded at once where only a figure per image is kept."""


class Manifold(ABC):
    """A manifold of images of one shape, given by latent coordinates.

    Every method takes a batch, and results have its dtype and device. An encoder and decoder compute each image
    independently of the others in its batch.

    Attributes:
        name: Name of the manifold, for messages and results.
        shape: Shape of one image, without the batch axis.
        latent_shape: Shape of one image's latent coordinates.
        dim: Dimension of the manifold.

    Examples:
        >>> import torch, blindspace as bs
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> surface = bs.manifold("mnist-autoencoder")
        >>> surface.dim, tuple(surface.encode(x).shape)
        (16, (4, 16))
        >>> surface.decode(surface.encode(x)).shape == x.shape
        True
    """

    name: str
    shape: Shape
    latent_shape: Shape

    @property
    def dim(self) -> int:
        """Dimension of the manifold: the number of latent coordinates."""
        return prod(self.latent_shape)

    @property
    def ambient_dim(self) -> int:
        """Number n of values of an image."""
        return prod(self.shape)

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _decode(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _tangent(self, z: Tensor, points: Tensor) -> TangentSpaces: ...

    def encode(self, x: Tensor) -> Tensor:
        """Compute the latent coordinates of images.

        Args:
            x: Images, floating point ``(B, *shape)``.

        Returns:
            ``(B, *latent_shape)``.

        Raises:
            ShapeError: x has another shape or is not a floating-point tensor.
        """
        return self._encode(as_batch(x, self.shape, "images", single=False)[0])

    def decode(self, z: Tensor) -> Tensor:
        """Compute the images at latent coordinates ``(B, *latent_shape)``, ``(B, *shape)``. As ``encode``."""
        return self._decode(as_batch(z, self.latent_shape, "latent coordinates", single=False)[0])

    def project(self, x: Tensor) -> Tensor:
        """Compute decode(encode(x)), a point of the manifold near each image. As ``encode``."""
        return self.decode(self.encode(x))

    def tangent(self, x: Tensor) -> TangentSpaces:
        """Compute the tangent space at the projection of each image, in float64.

        Args:
            x: Images, floating point ``(B, *shape)``.

        Returns:
            One tangent space per image, ``points`` of which are the images themselves. Where the decoder's Jacobian is
            rank-deficient, ``ranks`` and ``condition`` say so.

        Raises:
            ShapeError: x has another shape or is not a floating-point tensor.
            ValueRangeError: The decoder overflows.
            UnsupportedLayerError: The decoder cannot be differentiated.
        """
        x = as_batch(x, self.shape, "images", single=False)[0]
        return self._tangent(self.encode(x), x)

    def tangent_at(self, z: Tensor) -> TangentSpaces:
        """Compute the tangent space at latent coordinates ``(B, *latent_shape)``, in float64. As ``tangent``."""
        z = as_batch(z, self.latent_shape, "latent coordinates", single=False)[0]
        return self._tangent(z, self.decode(z))

    @torch.no_grad()
    def reconstruction_error(self, x: Tensor) -> Tensor:
        """Compute the mean squared error per value of each image's projection, ``(B,)``. As ``encode``."""
        x = as_batch(x, self.shape, "images", single=False)[0]
        parts = [(self.project(some) - some).flatten(1).square().mean(1) for some in x.split(CHUNK)]
        return torch.cat(parts) if parts else x.new_zeros(0)

    def to_dict(self) -> dict[str, Any]:
        """Name and dimensions as plain values for JSON."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "latent_shape": list(self.latent_shape),
            "dim": self.dim,
            "ambient_dim": self.ambient_dim,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, dim {self.dim} of {self.ambient_dim})"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, self.to_dict())


def same_shape(x: Tensor, shape: Shape, what: str) -> Tensor:
    """``x``, if the output of an encoder or decoder is a batch of the shape it should have.

    Raises:
        ShapeError: It is not.
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise ShapeError(f"{what} returns {tuple(x.shape)} where (B, {', '.join(map(str, shape))}) is needed")
    return x
