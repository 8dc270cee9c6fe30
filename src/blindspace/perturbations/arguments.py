"""What the functions of this package accept as a subspace and as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor, nn

from ..errors import ValueRangeError
from ..maps import Operator
from ..maps.linear_map import checked
from ..networks import harmless
from ..subspaces import Subspace

Space: TypeAlias = Subspace | Operator
"""A subspace, or a network or operator that stands for its harmless perturbations."""


def space_of(space: Space, images: Tensor | None = None, input_shape: Sequence[int] | None = None) -> Subspace:
    """The subspace itself, or whatever ``networks.harmless`` finds for a network, affine front or linear map.

    Args:
        space: A subspace, linear map, network or torch module.
        images: A batch ``(B, *shape)``, which gives the input shape of a module.
        input_shape: Shape of one input; a module needs it where there are no images.

    Raises:
        BlindspaceError: It is of another type.
    """
    if isinstance(space, Subspace):
        return space
    if input_shape is None and isinstance(space, nn.Module) and isinstance(images, Tensor):
        input_shape = tuple(images.shape[1:])
    return harmless(space, input_shape=input_shape)


def batch(images: Tensor, space: Subspace, what: str = "images") -> Tensor:
    """Images as a float64 batch ``(B, *space.shape)``; a single image becomes a batch of one.

    Args:
        images: ``(B, *space.shape)`` or ``space.shape``, any floating dtype.
        space: The subspace whose shape they must have.
        what: Name of the images in a message.

    Raises:
        ShapeError: They are no floating-point tensor of that shape.
    """
    single = isinstance(images, Tensor) and tuple(images.shape) == space.shape
    return checked(images[None] if single else images, space.shape, what).double()


def batch_in_range(images: Tensor, space: Subspace) -> Tensor:
    """The same for images that must lie in [0, 1].

    Raises:
        ShapeError: As ``batch``.
        ValueRangeError: A pixel is NaN or outside [0, 1].
    """
    x = batch(images, space)
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueRangeError("a pixel is NaN or outside [0, 1]; divide bytes by 255")
    return x
