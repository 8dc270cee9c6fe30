"""The range of pixels: checked, and mapped to [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileError, ValueRangeError


def check_pixels(pixels: npt.NDArray[np.floating], what: str, low: float = 0.0, high: float = 1.0) -> None:
    """Refuse pixels that are not finite or lie outside ``[low, high]``.

    Args:
        pixels: An array of any shape.
        what: Name of the pixels in the message, such as ``cat.png``.
        low: Smallest value allowed.
        high: Largest value allowed.

    Raises:
        ValueRangeError: A pixel is not finite or outside; the message repeats the smallest and largest value.
    """
    if not pixels.size:
        raise ValueRangeError(f"{what} holds no pixels; its shape is {pixels.shape}")
    least, greatest = float(pixels.min()), float(pixels.max())  # NaN propagates to both, infinity to one.
    if not np.isfinite(least) or not np.isfinite(greatest):
        bad = int(pixels.size - np.isfinite(pixels).sum())
        raise ValueRangeError(f"{what} holds {bad} pixels that are NaN or infinite; all must be finite")
    if least < low or greatest > high:
        advice = ""
        if low >= 0 and high <= 1 and least >= 0 and 2 < greatest <= 255:
            advice = "; if they are bytes from 0 to 255, divide them by 255"
        raise ValueRangeError(
            f"{what} has pixels from {least:.6g} to {greatest:.6g}; needed is {low:g} to {high:g}{advice}"
        )


def normalised(stored: npt.NDArray[Any], low: float, high: float, name: str) -> npt.NDArray[np.float64]:
    """Numbers of a picture file as pixels in [0, 1].

    Args:
        stored: Integers or floats, any shape.
        low: The number that becomes 0.
        high: The number that becomes 1.
        name: Name of the file in messages.

    Raises:
        FileError: A number lies outside, or is NaN; the message repeats the smallest and largest.
    """
    least, greatest = float(stored.min()), float(stored.max())
    if not (low <= least and greatest <= high):
        raise FileError(
            f"{name} holds numbers of unknown range, from {least:.6g} to {greatest:.6g} where {low:g} to {high:g} is "
            "stated or usual; save them in [0, 1]"
        )
    return (stored.astype(np.float64) - low) / (high - low)
