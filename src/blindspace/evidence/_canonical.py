"""One image for all that a network reads alike: what is visible, and of what is not only what is natural."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..subspaces import Subspace, norms
from .conditional_mean import complete
from .prior import Prior


@dataclass(frozen=True)
class Canonical:
    """Images cleaned of whatever was hidden in them.

    Attributes:
        images: inside [0, 1] to the last bit, float64 ``(B, C, H, W)``; equal, to ``complete``'s tolerance, for two
            images that the network reads alike.
        residual: ‖(I − P)(clean − x)‖ / ‖(I − P) x‖ of each, ``(B,)``: how far the visible component moved, which in
            exact arithmetic it does not.
        moved: mean squared change of each, ``(B,)``.
    """

    images: Tensor
    residual: Tensor
    moved: Tensor


def canonical(space: Subspace, images: Tensor, prior: Prior | None = None) -> Canonical:
    """Replace the invisible component of each image by its natural expectation, inside the pixel range.

    Args:
        space: of what is invisible, of images (1 or 3, H, W).
        images: ``(B, *space.shape)``; may leave [0, 1].
        prior: of natural images; ``Prior.of`` their shape if None.

    Raises:
        ShapeError: the images are of another shape.
        ValueRangeError: a value is NaN or infinite, or no image inside [0, 1] has that visible component.
    """
    clean = complete(space, images, prior, in_range=True)
    change = clean - images.double()
    visible = norms(space.reject(images.double()), "l2").flatten().clamp(min=torch.finfo(torch.float64).tiny)
    residual = norms(space.reject(change), "l2").flatten() / visible
    return Canonical(clean, residual, change.flatten(1).square().mean(1))
