"""Networks, subspaces and batches of images from whatever a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor, nn
from torch.export import ExportedProgram

from ..errors import UnsupportedLayerError, ValueRangeError
from ..maps import Operator
from ..maps.floating import as_floating, within
from ..maps.linear_map import as_batch
from ..subspaces import Subspace
from ..subspaces._mask_argument import MaskLike
from ._front import harmless
from ._load import load
from .network import Network

NetworkLike: TypeAlias = Network | nn.Module | ExportedProgram
"""A network, a torch module together with its input shape, or a program of ``torch.export``."""

Space: TypeAlias = Subspace | Operator
"""A subspace, or a network or operator that stands for its harmless perturbations."""


def as_network(given: object, input_shape: Sequence[int] | None = None) -> Network:
    """A network itself, or a torch module with its input shape made into one.

    Raises:
        UnsupportedLayerError: The object is neither of them.
        ShapeError: The module comes without an input shape, or cannot read it.
    """
    if not isinstance(given, Network | nn.Module | ExportedProgram):
        hint = f"; load it first: bs.load({given!r})" if isinstance(given, str) else ""
        raise UnsupportedLayerError(f"expected a Network or a torch module, got {type(given).__name__}{hint}")
    return load(given, input_shape)


def as_space(
    given: Space,
    input_shape: Sequence[int] | None = None,
    images: Tensor | None = None,
    mask: MaskLike | None = None,
) -> Subspace:
    """A subspace itself, or what ``harmless`` finds for a network, linear map or torch module.

    Args:
        given: A subspace, network, linear map or torch module.
        input_shape: Shape of one input, which a module needs unless there are images.
        images: A batch ``(B, *shape)``, which gives the input shape of a module.
        mask: A mask outside which perturbations are 0, as ``Subspace.within`` takes it; None for none.
    """
    if input_shape is None and isinstance(given, nn.Module) and images is not None:
        input_shape = as_floating(images, "images").shape[1:]
    space = given if isinstance(given, Subspace) else harmless(given, input_shape=input_shape)
    return space if mask is None else space.within(mask)


def as_images(images: Tensor, shape: Sequence[int], name: str = "images") -> Tensor:
    """Images as a floating-point batch ``(B, *shape)`` without gradient; a single image becomes a batch of one.

    Args:
        images: A tensor, a NumPy array or a list of either, as ``maps.floating.as_floating`` takes them.
        shape: Shape of one image.
        name: What the images are called in a message.

    Raises:
        ShapeError: The images are no floating-point numbers, or have another shape.
    """
    return as_batch(images, tuple(shape), name)[0].detach()


def as_pixels(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images in [0, 1] as a float64 batch. As ``as_images``.

    Raises:
        ValueRangeError: A pixel is NaN or outside [0, 1].
    """
    x = as_images(images, shape).double()
    if not within(x, 0.0, 1.0):
        raise ValueRangeError("a pixel is NaN or outside [0, 1]; divide bytes by 255")
    return x


def as_inputs(images: Tensor, network: Network) -> Tensor:
    """Images as a batch that the network reads, as ``as_images``; a message about another shape names the network."""
    return network.check(images).detach()
