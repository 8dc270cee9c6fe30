"""Pictures of more bits than Pillow reads and writes: 16-bit colour PNG by pypng, deep and float TIFF by tifffile."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import BlindspaceWarning, FileError, MissingExtraError, first_line
from ..extras import library
from . import tiff
from .pixel_range import normalised

EXTRA = "formats"

PNG = b"\x89PNG\r\n\x1a\n"
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


@contextmanager
def tiff_file(content: bytes, what: str) -> Iterator[Any]:
    """Open a TIFF by tifffile, which would otherwise log damage to the screen.

    Args:
        content: Bytes of the file.
        what: What needs tifffile, as the subject of the message.

    Raises:
        MissingExtraError: Tifffile is not installed.
    """
    tifffile = library("tifffile", EXTRA, what)
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            yield file
    finally:
        logger.setLevel(level)


def read_tiff(content: bytes, values: tiff.Values, name: str) -> npt.NDArray[np.float64]:
    """The first page of a TIFF, ``(C, H, W)`` in [0, 1] without transparency, C being 1 or 3.

    Args:
        content: Bytes of the file.
        values: What it says of its values; RGB or grey.
        name: Name of the file in messages.

    Raises:
        FileError: The file is damaged, too large, compressed in an unknown way, or holds values outside its range.
        MissingExtraError: Tifffile is not installed.
    """
    try:
        with tiff_file(content, f"{name}, a TIFF of {values.bits}-bit {values.numbers} values,") as file:
            page = file.pages[0]
            _check_size(page, len(content), name)
            stored = np.asarray(page.asarray())
            if values.samples > 1 and page.planarconfig == 1:
                stored = np.moveaxis(stored, -1, 0)
    except (FileError, MissingExtraError):
        raise
    except (ImportError, *_DAMAGE) as error:
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise FileError(
                f"{name} is packed or compressed in a way that needs imagecodecs; pip install imagecodecs, or save it "
                "with 8 or 16 bits and without compression"
            ) from error
        raise FileError(f"{name} is damaged, or no TIFF that can be read here ({first_line(error)})") from error
    stored = stored[None] if values.samples == 1 else stored
    if stored.ndim != 3 or len(stored) != values.samples or not stored.size:
        raise FileError(f"{name} holds an array of shape {stored.shape}; needed is a picture of 1 or 3 channels")
    pixels = values.normalised(stored[: values.colours], name)
    if values.premultiplied:
        opacity = normalised(stored[-1:], values.low, values.high, name)
        pixels = np.divide(pixels, opacity, np.zeros_like(pixels), where=opacity > 0).clip(0, 1)
    return pixels


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
    packed = pixels * int(page.samplesperpixel) * int(page.bitspersample) // 8
    if page.compression == 1 and packed > size:
        raise FileError(f"{name} is damaged: {size} bytes of at least {packed}")
