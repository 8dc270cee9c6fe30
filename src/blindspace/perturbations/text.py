"""A line of text as a picture: what a decoy can say."""

from __future__ import annotations

import textwrap
from bisect import bisect_left

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import ShapeError, ValueRangeError

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Box = tuple[float, float, float, float]

SMALLEST = 6
"""Height of a letter in pixels below which nothing can be read."""

NARROWEST = 2
"""Width of one, on average."""

MARGIN = 0.06
"""Of the picture's sides, left free."""


def text_picture(text: str, shape: tuple[int, ...], ink: float = 1.0, paper: float = 0.0) -> Tensor:
    """Text in Pillow's own font, wrapped and as large as fits.

    For a decoy greys such as 0.75 on 0.35 can do better than white on black, which leaves no room for what must stay.

    Args:
        text: of any length that fits; line breaks are kept, words broken only where nothing else fits.
        shape: ``(C, H, W)``.
        ink: brightness of the letters, in [0, 1].
        paper: brightness around them.

    Returns:
        ``(C, H, W)``, float64, from ``paper`` to ``ink``, alike in all channels.

    Raises:
        ShapeError: the shape is not that of an image.
        ValueRangeError: the text is empty or does not fit, or a brightness is outside [0, 1].
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"text needs the shape of an image (C, H, W), got {tuple(shape)}")
    if not (0 <= ink <= 1 and 0 <= paper <= 1):
        raise ValueRangeError(f"ink and paper must be in [0, 1], got {ink} and {paper}")
    if not text.strip():
        raise ValueRangeError(f"there is no text to show in {text!r}")
    channels, height, width = shape
    wrapped, font, box = _largest(text, height, width)
    canvas = Image.new("L", (width, height))
    place = ((width - box[2] - box[0]) / 2, (height - box[3] - box[1]) / 2)
    ImageDraw.Draw(canvas).multiline_text(place, wrapped, fill=255, font=font, align="center", spacing=_spacing(font))
    letters = torch.from_numpy(np.asarray(canvas, np.float64) / 255)
    return (paper + (ink - paper) * letters).expand(channels, height, width).clone()


def _largest(text: str, height: int, width: int) -> tuple[str, Font, Box]:
    """The text as wrapped, the font and the box of the largest letters that fit; words broken only where they must."""
    for wrappings in (_wrappings(text, width // NARROWEST + 1, whole_words) for whole_words in (True, False)):
        sizes = range(height, SMALLEST - 1, -1)
        first = bisect_left(sizes, True, key=lambda size: _fitting(wrappings, size, height, width) is not None)
        if first < len(sizes):
            found = _fitting(wrappings, sizes[first], height, width)
            assert found
            return found
    raise ValueRangeError(f"the text {text!r} does not fit into {height} × {width} pixels; shorten it")


def _fitting(wrappings: list[str], size: int, height: int, width: int) -> tuple[str, Font, Box] | None:
    """The first way of breaking lines that fits at a size of letters."""
    draw, font = ImageDraw.Draw(Image.new("L", (1, 1))), ImageFont.load_default(size)
    for wrapped in wrappings:
        box = draw.multiline_textbbox((0, 0), wrapped, font=font, align="center", spacing=_spacing(font))
        if box[2] - box[0] <= width * (1 - 2 * MARGIN) and box[3] - box[1] <= height * (1 - 2 * MARGIN):
            return wrapped, font, box
    return None


def _wrappings(text: str, most: int, whole_words: bool) -> list[str]:
    """All ways of breaking lines at a number of letters, the fewest lines first."""
    lines = text.strip().splitlines()

    def wrapped(n: int) -> list[str]:
        parts = (textwrap.wrap(line, n, break_long_words=not whole_words) or [""] for line in lines)
        return [part for line in parts for part in line]

    return list(dict.fromkeys("\n".join(wrapped(n)) for n in range(min(max(map(len, lines)), most), 0, -1)))


def _spacing(font: Font) -> float:
    """Between lines, in pixels."""
    return getattr(font, "size", SMALLEST) / 5
