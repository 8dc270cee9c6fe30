"""Networks, subspaces and batches of images from whatever a user gives."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import UnsupportedLayerError
from ..maps import Operator
from ..maps.linear_map import as_batch
from ..networks import Network, harmless, load
from ..subspaces import Subspace

NetworkLike = Network | nn.Module
"""A network, or a torch module together with its input shape."""


def as_network(given: object, input_shape: Sequence[int] | None = None) -> Network:
    """A network itself, or a torch module with its input shape made into one.

    Raises:
        UnsupportedLayerError: the object is neither of them.
        ShapeError: the module comes without an input shape, or cannot read it.
    """
    if not isinstance(given, Network | nn.Module):
        hint = f"; load it first: bs.load({given!r})" if isinstance(given, str) else ""
        raise UnsupportedLayerError(f"expected a Network or a torch module, got {type(given).__name__}{hint}")
    return load(given, input_shape)


def as_space(given: Operator, input_shape: Sequence[int] | None = None) -> Subspace:
    """A subspace itself, or the nullspace of a map, a network or a torch module, which needs its input shape."""
    return given if isinstance(given, Subspace) else harmless(given, input_shape=input_shape)


def as_images(images: Tensor, shape: Sequence[int], name: str = "images") -> Tensor:
    """Images as a floating-point batch ``(B, *shape)``; a single image becomes a batch of one.

    Raises:
        ShapeError: the images are no floating-point tensor, or have another shape.
    """
    return as_batch(images, tuple(shape), name)[0]


def as_inputs(images: Tensor, network: Network) -> Tensor:
    """Images as a batch that the network reads, as ``as_images``; a message about another shape names the network."""
    if isinstance(images, Tensor) and images.is_floating_point():
        return network.check(images[None] if images.ndim == len(network.input_shape) else images)
    return as_images(images, network.input_shape)
