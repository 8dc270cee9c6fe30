"""The one rule for pictures that have other channels than a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def in_channels(pixels: npt.NDArray[np.float64], shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """A picture in the channels of a network's input.

    Args:
        pixels: ``(C, H, W)``.
        shape: Shape of the network's input.

    Returns:
        Greyscale as three equal channels where the network reads colours; any other picture as it is, so that colours
        before a network of one channel are refused by their shape.
    """
    if len(shape) == 3 and shape[0] == 3 and len(pixels) == 1:
        return np.repeat(pixels, 3, axis=0)
    return pixels


LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601), as Pillow has them."""


def fewer_channels(pixels: npt.NDArray[np.float64], channels: int) -> npt.NDArray[np.float64]:
    """Colours as grey where one channel is asked for, which loses the colours; other pictures as they are.

    Args:
        pixels: ``(C, H, W)``.
        channels: Number of channels that is asked for.
    """
    if channels == 1 and len(pixels) == 3:
        return np.tensordot(np.array(LUMA), pixels, 1)[None]
    return pixels
