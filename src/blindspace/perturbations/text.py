"""A line of text rendered as a picture, as the target of a decoy."""

from __future__ import annotations

import textwrap
from bisect import bisect_left

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import ShapeError, ValueRangeError, shown
from .fonts import Font, check_letters, opened

Box = tuple[float, float, float, float]

SMALLEST = 6
"""Height of letters, in pixels, below which they are illegible."""

NARROWEST = 2
"""Average width of such a letter, in pixels."""

MARGIN = 0.06
"""Share of the picture's sides that is left free as a margin."""


def text_picture(
    text: str, shape: tuple[int, ...], ink: float = 1.0, paper: float = 0.0, font: str | None = None
) -> Tensor:
    """Text wrapped and as large as it fits.

    For a decoy, greys such as 0.75 on 0.35 can work better than white on black, which leaves no room in [0, 1] for the
    visible component of the image.

    Args:
        text: The text; line breaks are kept, and words are broken only if the text does not fit otherwise.
        shape: Shape of the picture, ``(C, H, W)``.
        ink: Brightness of the letters, in [0, 1].
        paper: Brightness of the background, in [0, 1].
        font: A TrueType or OpenType file; Pillow's own font, which has few letters beside Latin ones, if None.

    Returns:
        The picture ``(C, H, W)``, float64, from ``paper`` to ``ink``, the same in all channels.

    Raises:
        ShapeError: The shape is not that of an image.
        ValueRangeError: The text is empty or does not fit, the font is none or lacks a letter, or a brightness is
            outside [0, 1].
        FileError: The font cannot be read.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"text needs the shape of an image (C, H, W), got {tuple(shape)}")
    if not (0 <= ink <= 1 and 0 <= paper <= 1):
        raise ValueRangeError(f"ink and paper must be in [0, 1], got {ink} and {paper}")
    if not isinstance(text, str):
        raise ValueRangeError(f"a picture of a text needs a text, got {shown(text)}")
    if not text.strip():
        raise ValueRangeError(f"there is no text to show in {text!r}")
    check_letters(text, font)
    channels, height, width = shape
    wrapped, letters_of, box = _largest(text, height, width, font)
    canvas = Image.new("L", (width, height))
    place = ((width - box[2] - box[0]) / 2, (height - box[3] - box[1]) / 2)
    ImageDraw.Draw(canvas).multiline_text(
        place, wrapped, fill=255, font=letters_of, align="center", spacing=_spacing(letters_of)
    )
    letters = torch.from_numpy(np.asarray(canvas, np.float64) / 255)
    return (paper + (ink - paper) * letters).expand(channels, height, width).clone()


def _largest(text: str, height: int, width: int, path: str | None) -> tuple[str, Font, Box]:
    """The text as wrapped, the font and the box of the largest letters that fit; words broken only if necessary."""
    for wrappings in (_wrappings(text, width // NARROWEST + 1, whole_words) for whole_words in (True, False)):
        sizes = range(height, SMALLEST - 1, -1)
        first = bisect_left(sizes, True, key=lambda size: _fitting(wrappings, size, height, width, path) is not None)
        if first < len(sizes):
            found = _fitting(wrappings, sizes[first], height, width, path)
            assert found
            return found
    raise ValueRangeError(f"the text {text!r} does not fit into {height} × {width} pixels; shorten it")


def _fitting(
    wrappings: list[str], size: int, height: int, width: int, path: str | None
) -> tuple[str, Font, Box] | None:
    """The first way of breaking lines that fits at a given font size."""
    draw, font = ImageDraw.Draw(Image.new("L", (1, 1))), opened(path, size)
    for wrapped in wrappings:
        box = draw.multiline_textbbox((0, 0), wrapped, font=font, align="center", spacing=_spacing(font))
        if box[2] - box[0] <= width * (1 - 2 * MARGIN) and box[3] - box[1] <= height * (1 - 2 * MARGIN):
            return wrapped, font, box
    return None


def _wrappings(text: str, most: int, whole_words: bool) -> list[str]:
    """All ways of wrapping lines at a number of letters, the fewest lines first."""
    lines = text.strip().splitlines()

    def wrapped(n: int) -> list[str]:
        parts = (textwrap.wrap(line, n, break_long_words=not whole_words) or [""] for line in lines)
        return [part for line in parts for part in line]

    return list(dict.fromkeys("\n".join(wrapped(n)) for n in range(min(max(map(len, lines)), most), 0, -1)))


def _spacing(font: Font) -> float:
    """Spacing between lines, in pixels."""
    return getattr(font, "size", SMALLEST) / 5
