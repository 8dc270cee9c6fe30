"""Pictures of more bits than Pillow reads and writes: 16-bit colour PNG by pypng, float TIFF by tifffile."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..errors import BlindspaceWarning, FileError, MissingExtraError, first_line
from ..extras import library

EXTRA = "formats"

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_BITS, _COLOURS, _FORMAT = 258, 262, 339
"""Tags of a TIFF: bits per value, colour space and number format."""

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
           TypeError, ValueError, EOFError, struct.error, zlib.error)  # fmt: skip
"""Exceptions that the readers raise for damaged files."""


def is_16_bit_png(content: bytes) -> bool:
    """Whether this is a 16-bit PNG in colour or in grey with transparency, of which Pillow keeps 8 bits."""
    return content[:8] == PNG and len(content) > 25 and content[24] == 16 and content[25] in (2, 4, 6)


def read_png(content: bytes, name: str) -> npt.NDArray[np.float64] | None:
    """A 16-bit PNG, ``(C, H, W)`` in [0, 1] without transparency; None, with a warning, if pypng is not installed.

    Args:
        content: Bytes of a file that Pillow could decode.
        name: Name of the file in messages.

    Raises:
        FileError: The file is damaged.
    """
    try:
        png = library("png", EXTRA, "16-bit colour")
    except MissingExtraError as error:
        warnings.warn(f"{name} is read with 8 of its 16 bits: {error}", BlindspaceWarning, stacklevel=3)
        return None
    try:
        width, height, rows, info = png.Reader(bytes=content).read()
        values = np.stack([np.asarray(row, np.uint16) for row in rows]).reshape(height, width, info["planes"])
    except (png.Error, *_DAMAGE) as error:
        raise FileError(f"{name} is damaged ({first_line(error)})") from error
    colours = values[:, :, : 1 if info["greyscale"] else 3]
    return colours.transpose(2, 0, 1) / 65535


def needs_tifffile(content: bytes) -> bool:
    """Whether Pillow cannot read this TIFF, or not at full depth: floats or 16 bits in colour, float64."""
    if content[:4] not in TIFF:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Damage is reported later.
            image = Image.open(BytesIO(content), formats=("TIFF",))
        with image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            return len(tags.get(_BITS, ())) > 1 and max(tags[_BITS]) > 8 and tags.get(_COLOURS) in (1, 2)
    except UnidentifiedImageError:
        # Damaged, or of a kind unknown to Pillow; tifffile knows more kinds and has clearer errors.
        return True
    except (Image.DecompressionBombError, SyntaxError, *_DAMAGE):
        return False


def read_tiff(content: bytes, name: str) -> npt.NDArray[np.float64]:
    """The first page of a TIFF, ``(C, H, W)`` in [0, 1], C being 1 or 3.

    Raises:
        FileError: The file is damaged, too large, not a picture, or holds numbers of unknown range.
        MissingExtraError: Tifffile is not installed.
    """
    tifffile = library("tifffile", EXTRA, f"{name}, a TIFF of floats or of 16-bit colours,")
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # It logs damaged files to the screen.
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            page = file.pages[0]
            _check_size(page, len(content), name)
            values = np.asarray(page.asarray())
    except (FileError, MissingExtraError):
        raise
    except _DAMAGE as error:
        raise FileError(f"{name} is damaged, or no TIFF that can be read here ({first_line(error)})") from error
    finally:
        logger.setLevel(level)
    if values.ndim == 2:
        values = values[:, :, None]
    elif values.ndim == 3 and values.shape[2] not in (1, 2, 3, 4):
        values = values.transpose(1, 2, 0)  # one plane per colour
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or not values.size:
        raise FileError(f"{name} holds an array of shape {values.shape}; needed is a picture of 1 or 3 channels")
    values = values[:, :, : 3 if values.shape[2] > 2 else 1].transpose(2, 0, 1)
    if values.dtype in (np.uint8, np.uint16):
        return values / float(np.iinfo(values.dtype).max)
    if values.dtype.kind != "f":
        raise FileError(f"{name} holds {values.dtype} pixels of unknown range; save them in [0, 1] as .npz")
    check_floats(values, name)
    return values.astype(np.float64)


def check_floats(values: npt.NDArray[np.floating], name: str) -> None:
    """Refuse floats outside [0, 1].

    Raises:
        FileError: A value is outside; the message repeats the minimum and maximum.
    """
    least, greatest = float(values.min()), float(values.max())
    if not (least >= 0 and greatest <= 1):
        raise FileError(
            f"{name} holds floats of unknown range, from {least:.6g} to {greatest:.6g}; save them in [0, 1]"
        )


def write_png(pixels: npt.NDArray[np.float64]) -> bytes:
    """A 16-bit PNG of ``(1 or 3, H, W)`` pixels in [0, 1], each rounded to the nearest of 65536 levels.

    Raises:
        MissingExtraError: Pypng is not installed.
    """
    png = library("png", EXTRA, "16-bit PNG")
    channels, height, width = pixels.shape
    levels = np.rint(pixels * 65535).astype(np.uint16).transpose(1, 2, 0).reshape(height, -1)
    content = BytesIO()
    png.Writer(width, height, greyscale=channels == 1, bitdepth=16).write(content, levels.tolist())
    return content.getvalue()


def write_tiff(pixels: npt.NDArray[np.floating]) -> bytes:
    """A TIFF of ``(1 or 3, H, W)`` floats without rounding: float32 as float32, all others as float64.

    Raises:
        MissingExtraError: Tifffile is not installed.
    """
    tifffile = library("tifffile", EXTRA, "float TIFF")
    values = pixels if pixels.dtype == np.float32 else pixels.astype(np.float64)
    page = values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0))
    content = BytesIO()
    tifffile.imwrite(content, page, photometric="minisblack" if len(values) == 1 else "rgb", metadata=None)
    return content.getvalue()


def _check_size(page: Any, size: int, name: str) -> None:
    """Refuse a header that claims more pixels than Pillow would open, or than the file can contain."""
    pixels = int(page.imagewidth) * int(page.imagelength)
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        raise FileError(f"{name} has too many pixels to be opened safely ({pixels})")
    if page.compression == 1 and page.nbytes > size:
        raise FileError(f"{name} is damaged: {size} bytes of at least {page.nbytes}")
