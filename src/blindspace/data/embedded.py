"""Pictures inside text and among numbers: base64, data URIs, hexadecimal digits, lists of pixels."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LEAST = 64
"""Smallest number of values that make a picture, one of 8 × 8."""

SIDE = 8
"""Smallest height and width."""

_DATA_URI = re.compile(r"data:image/[\w.+-]+[;,]", re.IGNORECASE)
_WHOLE_URI = re.compile(r"\s*(data:[\w.+-]*/?[\w.+-]*(?:;[\w.=+-]+)*;base64,)\s*", re.IGNORECASE)
_RUN = re.compile(r"(?:[A-Za-z0-9+/_-]|\\/){60,}")
_HEX = re.compile(r"(?:0?x)?((?:[0-9a-fA-F]{2}){32,})")
_ESCAPED = re.compile(r"\\x89PNG|\\xff\\xd8\\xff|GIF8[79]a|\\u0089PNG", re.IGNORECASE)
_ONE = r"\d{1,3}(?:\.\d*)?(?:[eE]-?\d+)?"
_NUMBERS = re.compile(
    # A line break alone separates labels, not pixels.
    rf"(?<![\d.]){_ONE}(?:[ \t,;\[\]]+(?:\r?\n[ \t,;\[\]]*)*{_ONE}(?![\d.]))++"
)
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE]-?\d+)?")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\r\n-]*={0,2}\s*")
_BRIGHT = 100
"""Labels of a list in a text are below, some value of a picture's pixels is not."""

_URL_SAFE = str.maketrans("-_", "+/")


def looks_like_pixels(values: Any, shape: Sequence[int]) -> bool:
    """Whether numbers may be a picture's pixels.

    They may if two axes are long enough for a picture, or, in a flat list, if all lie in the range of bytes or in
    [0, 1] and take more than two values, as masks of tokens and one-hot labels do not.

    Args:
        values: The numbers, as an array; they are examined in a flat list only.
        shape: Number of values along each axis.
    """
    if sum(length >= SIDE for length in shape) >= 2:
        return True
    if values is None:
        return False
    flat = np.asarray(values).ravel()
    return len(flat) >= LEAST and in_range_of_pixels(flat) and len(np.unique(flat)) > 2


def in_range_of_pixels(values: npt.NDArray[Any]) -> bool:
    """Whether all numbers are whole ones from 0 to 255, or from 0 to 1."""
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return False
    is_whole = values.dtype.kind in "iu" or bool((values == np.rint(values)).all())
    return not values.size or bool(values.min() >= 0 and values.max() <= (255 if is_whole else 1))


def hidden_in_text(text: str, holds_picture: Callable[[bytes], bool]) -> str:
    """What a text holds that may be a picture; empty if nothing is found.

    Args:
        text: The text.
        holds_picture: Whether bytes that stand in the text in another notation are a picture.
    """
    if _DATA_URI.search(text):
        return "the data URI of a picture"
    if any(map(holds_picture, _in_base64(text))):
        return "a picture in base64"
    if any(map(holds_picture, _in_hexadecimal(text))):
        return "a picture in hexadecimal digits"
    if _ESCAPED.search(text):
        return "the escaped bytes of a picture"
    if "<svg" in text or "<SVG" in text:
        return "a drawing in SVG"
    for run in _NUMBERS.finditer(text):
        if len(run[0]) < 2 * LEAST - 1:
            continue
        values = np.array([float(number) for number in _NUMBER.findall(run[0])])
        if looks_like_pixels(values, values.shape) and (values.max() >= _BRIGHT or (values != np.rint(values)).any()):
            return "a list of pixels"
    return ""


@dataclass(frozen=True)
class Wrapped:
    """The content of a file that is written as text.

    Attributes:
        content: The bytes of the file.
        prefix: The text before them, as of a data URI; empty in plain base64.
        url_safe: Whether - and _ stand for + and /.
    """

    content: bytes
    prefix: str
    url_safe: bool

    def around(self, content: bytes, media_type: str) -> str:
        """Another file in the same notation; the prefix of a data URI names its media type."""
        prefix = f"data:{media_type};base64," if self.prefix else ""
        encode = base64.urlsafe_b64encode if self.url_safe else base64.b64encode
        return prefix + encode(content).decode("ascii")


def unwrapped(text: str) -> Wrapped | None:
    """The file that a whole text is in base64 or as a data URI; None if it is no such text."""
    uri = _WHOLE_URI.match(text)
    rest = text[uri.end() :] if uri else text
    if not rest or not _BASE64.fullmatch(rest):
        return None
    content = _decoded(rest)
    url_safe = "-" in rest or "_" in rest
    return None if content is None else Wrapped(content, uri[1] if uri else "", url_safe)


def _in_base64(text: str) -> list[bytes]:
    found = (_decoded(run[0].replace("\\/", "/")) for run in _RUN.finditer(text))
    return [content for content in found if content]


def _in_hexadecimal(text: str) -> list[bytes]:
    return [bytes.fromhex(run[1]) for run in _HEX.finditer(text)]


def _decoded(text: str) -> bytes | None:
    digits = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    if len(digits) % 4 == 1:
        digits = digits[:-1]  # a run that is cut
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
