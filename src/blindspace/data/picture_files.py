"""Picture files, read and written through Pillow; ``high_bit_depth`` serves what Pillow cannot read in full."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..errors import FileError, ShapeError
from ..files import read_bytes, writing
from . import high_bit_depth, tiff
from .pixel_range import check_pixels, normalised

PICTURES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_DAMAGE = (SyntaxError, ValueError, struct.error, zlib.error, LookupError, TypeError, EOFError, ArithmeticError,
           AttributeError, MemoryError, RuntimeError)  # fmt: skip
"""Exceptions of Pillow's decoders for damaged files."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")


def open_picture(content: bytes, name: str, formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """Open a picture and decode it completely; of an animation the first frame.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.
        formats: Pillow's names of the formats to accept.

    Raises:
        FileError: The file is truncated, larger than Pillow's limit, or in none of ``formats``.
    """
    try:
        with Image.open(BytesIO(content), formats=formats) as image:
            image.load()  # Otherwise a truncated file would be noticed only later.
            return image
    except UnidentifiedImageError as error:
        raise FileError(f"{name} is not a {', '.join(formats)} image") from error
    except Image.DecompressionBombError as error:
        raise FileError(f"{name} has too many pixels to be opened safely ({error})") from error
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise FileError(f"{name} is damaged ({error})") from error


def read_picture(path: Path) -> npt.NDArray[np.float64]:
    """Read a picture as float64 ``(C, H, W)`` in [0, 1]; greyscale has one channel, all else is converted to RGB.

    Transparency is dropped. 16-bit PNG keeps its depth (in colour with the extra ``formats``; without it Pillow reads
    8 bits, with a warning). A TIFF is read by what it says of its values (see ``tiff``): by their depth, by which end
    is white, and floats from 0 to 1 if no other range is stated; deep colours and float64 need that extra. The pixels
    are returned as stored: a camera's orientation tag is not applied.

    Raises:
        FileError: The file is missing, ``open_picture`` refuses it, or its values are outside the range they should
            have or of unknown range: signed or 32-bit integers without stated extremes.
        MissingExtraError: Pillow cannot read this TIFF, and tifffile is not installed.
    """
    return decode_picture(read_bytes(path), str(path))


def decode_picture(content: bytes, name: str) -> npt.NDArray[np.float64]:
    """The picture in the bytes of a file, as ``read_picture`` returns it; messages call it ``name``."""
    stated = tiff.values(content, name) if content[:4] in tiff.SIGNATURES else None
    if stated is not None and tiff.needs_tifffile(content, stated):
        return high_bit_depth.read_tiff(content, stated, name)
    image = open_picture(content, name)
    if high_bit_depth.is_16_bit_png(content):
        whole = high_bit_depth.read_png(content, name)
        if whole is not None:
            return whole
    if image.mode.startswith("I") or image.mode == "F":
        stored = np.asarray(image)[None]
        white = 1.0 if image.mode == "F" else 65535.0
        return normalised(stored, 0.0, white, name) if stated is None else stated.normalised(stored, name)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"), np.float64)[None] / 255
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # Converted directly to RGB, Pillow warns of lost transparency.
    return np.asarray(image.convert("RGB"), np.float64).transpose(2, 0, 1) / 255


def encode_picture(pixels: npt.NDArray[np.floating], file_format: str = "PNG", **options: Any) -> bytes:
    """A picture of ``(1 or 3, H, W)`` pixels in [0, 1], each rounded to the nearest of 256 levels.

    Args:
        pixels: The pixels.
        file_format: Pillow's name of the format.
        options: Pillow's options of that format.
    """
    whole = np.rint(pixels.astype(np.float64) * 255).astype(np.uint8)
    content = BytesIO()
    image = Image.fromarray(whole[0] if len(whole) == 1 else np.ascontiguousarray(whole.transpose(1, 2, 0)))
    image.save(content, format=file_format, **options)
    return content.getvalue()


def write_png(path: Path, pixels: npt.NDArray[np.floating]) -> None:
    """Write ``(1 or 3, H, W)`` pixels in [0, 1] as an 8-bit PNG, which rounds them: a preview.

    Raises:
        ShapeError: The pixels have another shape.
        ValueRangeError: A pixel is not finite or outside [0, 1].
        FileError: The file cannot be written, or ``path`` does not end in ``.png``.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise ShapeError(f"cannot write an image of shape {pixels.shape} to {path}; needed is (1 or 3, H, W)")
    if path.suffix.lower() != ".png":
        raise FileError(f"cannot write {path} as PNG; give a name that ends in .png")
    check_pixels(pixels, f"the image for {path}")
    with writing(path) as temporary:
        temporary.write_bytes(encode_picture(pixels))
