"""Photographs of any sizes as arguments, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from ...errors import ShapeError, ValueRangeError, shown
from ...maps.floating import as_floating, within


def as_photographs(images: Sequence[Tensor] | Tensor, least: int = 1) -> list[Tensor]:
    """Photographs, each float64 ``(C, H, W)`` in [0, 1] on the processor.

    Args:
        images: Photographs of any sizes, or one.
        least: Smallest number of them.

    Raises:
        ShapeError: One is not (1 or 3, H, W), or they are no images.
        ValueRangeError: There are fewer, or a pixel is outside [0, 1].
    """
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 3:
        images = images[None]
    if not isinstance(images, Iterable) or (isinstance(images, Tensor | np.ndarray) and images.ndim < 3):
        raise ShapeError(f"images are photographs (C, H, W) in a list, or a batch of them; got {shown(images)}")
    made = [as_floating(image, "image", "(C, H, W)").detach().double().cpu() for image in images]
    if len(made) < least:
        raise ValueRangeError(
            "no image is given" if not made else f"give at least {least} photographs, not {len(made)}"
        )
    for image in made:
        if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.numel():
            raise ShapeError(f"an image has the shape (1 or 3, height, width), got {tuple(image.shape)}")
        if not within(image, 0.0, 1.0):
            raise ValueRangeError("a pixel is NaN or outside [0, 1]; divide bytes by 255")
    return made
