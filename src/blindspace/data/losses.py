"""What a picture file holds beside the pixels that are read: how it is to be turned, and what is dropped."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from ..errors import MissingExtraError
from .high_bit_depth import tiff_file

_EXTRA_SAMPLES, _ICC_PROFILE = 338, 34675
"""Tags of a TIFF."""

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
           SyntaxError, TypeError, ValueError, EOFError, struct.error)  # fmt: skip
"""Exceptions that the readers raise for damage in what is not read, which then counts as absent."""


def frames(image: Image.Image) -> int:
    """The number of frames or pages of a picture that is open; 1 if it cannot be determined."""
    try:
        return int(getattr(image, "n_frames", 1))
    except _DAMAGE:
        return 1


def orientation(image: Image.Image) -> int:
    """How a decoded picture is to be turned, 1 to 8 as in EXIF; 1 if nothing is stored."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DAMAGE:
        return 1


def dropped(image: Image.Image, count: int) -> tuple[str, ...]:
    """What is lost when the colours of the first frame of a decoded picture are taken.

    Args:
        image: The picture.
        count: Number of its frames.
    """
    profile = image.info.get("icc_profile")
    return _words("pages" if image.format == "TIFF" else "frames", count, _is_transparent(image), profile)


def of_tiff(content: bytes) -> tuple[int, tuple[str, ...]]:
    """As ``orientation`` and ``dropped``, for a TIFF that Pillow does not read."""
    try:
        with tiff_file(content, "this TIFF") as file:
            tags = file.pages[0].tags
            turn = int(tags[274].value) if 274 in tags else 1
            # 1 and 2 stand for transparency, 0 for a channel of unknown meaning.
            extra = tags[_EXTRA_SAMPLES].value if _EXTRA_SAMPLES in tags else ()
            transparent = any(int(value) in (1, 2) for value in np.atleast_1d(np.asarray(extra)))
            profile = tags[_ICC_PROFILE].value if _ICC_PROFILE in tags else None
            return turn, _words("pages", len(file.pages), transparent, profile)
    except (MissingExtraError, *_DAMAGE):
        return 1, ()


def turned(pixels: npt.NDArray[np.float64], orientation: int) -> npt.NDArray[np.float64]:
    """Pixels ``(C, H, W)`` as they are to be seen, ``(C, H, W)`` or ``(C, W, H)``, by the orientation of EXIF."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels)


def _words(what: str, count: int, transparent: bool, profile: object) -> tuple[str, ...]:
    lost = [f"{what}: {count - 1}"] if count > 1 else []
    lost += ["transparency"] if transparent else []
    # Pixels without a profile are taken as sRGB, by people and networks.
    told = profile if isinstance(profile, bytes) else b""
    lost += (
        ["colour profile"] if told and not any(word in told for word in (b"sRGB", "sRGB".encode("utf-16-be"))) else []
    )
    return tuple(lost)


def _is_transparent(image: Image.Image) -> bool:
    """Whether a pixel is not fully opaque."""
    if not image.has_transparency_data:
        return False
    try:
        least = image.convert("RGBA").getchannel("A").getextrema()[0]
    except _DAMAGE:
        return True
    return bool(least < 255)  # type: ignore[operator]
