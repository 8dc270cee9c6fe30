"""Fonts for the text of a decoy, and the letters that one of them lacks."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from io import BytesIO

from PIL import ImageFont, features

from ..errors import ValueRangeError, first_line, shown
from ..files import as_path, read_bytes

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

NO_LETTER = "\uffff"
"""A code point that is no character: every font draws it as it draws the letters that it lacks."""

TRIED = 32
"""Size, in pixels, at which letters are compared."""

LISTED = 8
"""Number of letters that a message names."""


@lru_cache(maxsize=512)
def opened(path: str | None, size: float, layout: ImageFont.Layout | None = None) -> Font:
    """A font at a size.

    Args:
        path: A TrueType or OpenType file; Pillow's own font if None.
        size: Height in pixels.
        layout: How letters are set side by side, for a file; as Pillow can if None.

    Raises:
        FileError: The file cannot be read.
        ValueRangeError: It is no font, or has no letters of any size.
    """
    if path is None:
        return ImageFont.load_default(size)
    content = read_bytes(as_path(path, "a font"))
    try:
        return ImageFont.truetype(BytesIO(content), size, layout_engine=layout)
    except (OSError, ValueError) as error:
        raise ValueRangeError(
            f"{path} is no font whose letters can be drawn at any size ({first_line(error)}); give a TrueType or "
            "OpenType file, .ttf or .otf"
        ) from error


def missing_letters(text: str, path: str | None = None) -> list[str]:
    """The characters of a text, in their order, that a font has no glyph for; spaces and line breaks need none.

    Args:
        text: The text.
        path: As for ``opened``.
    """
    # One glyph per character: a mark alone would get a circle to stand on.
    font = opened(path, TRIED, ImageFont.Layout.BASIC)
    absent = font.getmask(NO_LETTER)
    letters = dict.fromkeys(letter for letter in text if not letter.isspace())
    return [letter for letter in letters if _same(font.getmask(letter), absent)]


def check_letters(text: str, path: str | None = None) -> None:
    """Refuse a text that a font cannot show, before anything is drawn.

    Args:
        text: The text.
        path: As for ``opened``.

    Raises:
        FileError: The font cannot be read.
        ValueRangeError: The file is no font, it lacks a letter, or the script needs a library that Pillow lacks here.
    """
    if not isinstance(text, str):
        raise ValueRangeError(f"a picture of a text needs a text, got {shown(text)}")
    if path is not None:
        as_path(path, "a font")
    missing = missing_letters(text, path)
    if missing:
        named = ", ".join(_named(letter) for letter in missing[:LISTED]) + (", …" if len(missing) > LISTED else "")
        whose = "Pillow's own font" if path is None else f"the font {path}"
        raise ValueRangeError(f"{whose} has no {named}; give one that has with --font FILE (font=)")
    if not features.check("raqm") and any(_is_shaped(letter) for letter in text):
        raise ValueRangeError(
            f"the text {text!r} runs from right to left or joins its letters, which Pillow does with the library raqm "
            "alone; install Pillow with it, or give the text as a picture (--target)"
        )


def _same(one: object, other: object) -> bool:
    """Whether two glyphs look alike."""
    return getattr(one, "size", None) == getattr(other, "size", None) and bytes(one) == bytes(other)  # type: ignore[call-overload]


def _named(letter: str) -> str:
    """A letter as a message shows it, by its number where it cannot be seen alone."""
    visible = letter.isprintable() and not unicodedata.combining(letter)
    return f"{letter!r}" if visible else f"U+{ord(letter):04X}"


def _is_shaped(letter: str) -> bool:
    """Whether a letter takes its place or form from its neighbours."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter) in ("Mn", "Mc")
