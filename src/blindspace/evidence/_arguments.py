"""What users may give where this package needs a network, a subspace or a batch of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..errors import ShapeError, UnsupportedLayerError
from ..maps import Operator
from ..maps.linear_map import checked
from ..networks import Network, harmless, load
from ..subspaces import Subspace

NetworkLike = Network | nn.Module
"""A network, or a torch module together with its input shape."""

SpaceLike = Subspace | Operator
"""A subspace, or a map, a network or a torch module, which stand for their nullspaces."""


def as_network(given: object, input_shape: Sequence[int] | None = None) -> Network:
    """The network itself, or a module made into one.

    Args:
        given: a network or a torch module.
        input_shape: shape of one input, without the batch; needed for a module.

    Raises:
        UnsupportedLayerError: it is neither of them.
        ShapeError: a module without an input shape, or with one that it cannot read.
    """
    if not isinstance(given, Network | nn.Module):
        hint = f"; load it first: bs.load({given!r})" if isinstance(given, str) else ""
        raise UnsupportedLayerError(f"expected a Network or a torch module, got {type(given).__name__}{hint}")
    return load(given, input_shape)


def as_space(given: SpaceLike, input_shape: Sequence[int] | None = None) -> Subspace:
    """The subspace of the changes of an input that cannot be noticed.

    Args:
        given: the subspace itself, or a map, a network or a torch module, which stand for their nullspaces.
        input_shape: shape of one input, without the batch; needed for a module.

    Raises:
        BlindspaceError: it is none of them.
        UnsupportedLayerError: the affine front of a network cannot be followed.
        ShapeError: a module without an input shape, or with one that it cannot read.
    """
    return given if isinstance(given, Subspace) else harmless(given, input_shape=input_shape)


def as_batch(images: Tensor, shape: Sequence[int], name: str = "images") -> Tensor:
    """Images as a batch ``(B, *shape)``; a single image ``shape`` becomes a batch of one.

    Raises:
        ShapeError: the images are no floating-point tensor, or have another shape.
    """
    if isinstance(images, Tensor) and images.ndim == len(shape):
        images = images[None]
    return checked(images, tuple(shape), name)


def as_inputs(images: Tensor, network: Network, name: str = "") -> Tensor:
    """Images as a batch that the network reads; a single image becomes a batch of one.

    Raises:
        ShapeError: the images are no floating-point tensor, or have a shape that the network cannot read.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        got = images.dtype if isinstance(images, Tensor) else type(images).__name__
        given = f"{name or 'the images'} must be a floating-point tensor (B, *{network.input_shape}), got {got}"
        raise ShapeError(given)
    return network.check(images[None] if images.ndim == len(network.input_shape) else images, name)
