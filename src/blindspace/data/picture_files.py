"""Picture files, read and written through Pillow; ``high_bit_depth`` serves what Pillow cannot read in full."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..errors import FileError, ShapeError, first_line, shown
from ..files import as_path, read_bytes, writing
from . import high_bit_depth, losses, tiff
from .pixel_range import check_pixels, normalised
from .recognition import Holds, pillow_formats, recognise

_DAMAGE = (SyntaxError, ValueError, struct.error, zlib.error, LookupError, TypeError, EOFError, ArithmeticError,
           AttributeError, NotImplementedError, RuntimeError, MemoryError)  # fmt: skip
"""Exceptions of Pillow's decoders for damaged files."""

BAND, REPEATS = 1 << 14, 1.01
"""Bytes of the middle rows that are compressed by way of trial. Photographs, with noise or without, repeat no strings;
where looking for them makes the band less than this much smaller, the picture is written without, four times as fast.
"""

_OPENED = ("a PNG picture", "a JPEG picture", "a GIF picture", "a WebP picture", "a TIFF or camera raw picture")


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded picture.

    Attributes:
        pixels: Float64 ``(C, H, W)`` in [0, 1], turned as the file says.
        dropped: What the file holds beside these pixels: ``frames: 3`` or ``pages: 3``, the number of those after the
            first; ``transparency``, if a pixel is not opaque; ``colour profile``, if it is not sRGB.
    """

    pixels: npt.NDArray[np.float64]
    dropped: tuple[str, ...] = ()


def open_picture(content: bytes, name: str, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Open a picture and decode it completely; of an animation the first frame.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.
        formats: Pillow's names of the formats to accept; all that can be opened here if None.

    Raises:
        FileError: The file is truncated, larger than Pillow's limit, or in none of ``formats``.
    """
    return _opened(content, name, formats)[0]


def _opened(content: bytes, name: str, formats: tuple[str, ...] | None = None) -> tuple[Image.Image, int]:
    """As ``open_picture``, with the number of frames."""
    try:
        with Image.open(BytesIO(content), formats=formats or pillow_formats()) as image:
            count = losses.frames(image)
            image.load()  # Otherwise a truncated file would be noticed only later.
            return image, count
    except UnidentifiedImageError as error:
        raise FileError(_unidentified(content, name, formats)) from error
    except Image.DecompressionBombError as error:
        raise FileError(f"{name} has too many pixels to be opened safely ({error})") from error
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror or first_line(error)}") from error
    except _DAMAGE as error:
        raise FileError(f"{name} is damaged ({first_line(error)})") from error


def _unidentified(content: bytes, name: str, formats: tuple[str, ...] | None) -> str:
    if formats is not None:
        return f"{name} is not a {', '.join(formats)} image"
    found = recognise(content)
    if found.holds is not Holds.PICTURE:
        return f"{name} is not a picture: it is {found.what if content else 'empty'}"
    if found.what in _OPENED:
        return f"{name} is damaged: it begins as {found.what} and cannot be opened"
    return f"{name} is {found.what}, which needs a library that is not installed; convert it to PNG first"


def dimensions(content: bytes, name: str) -> tuple[int, int]:
    """Width and height of the picture in the bytes of a file, from its head alone: nothing is decoded.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.

    Raises:
        FileError: It is no picture, or larger than Pillow's limit.
    """
    try:
        with Image.open(BytesIO(content), formats=pillow_formats()) as image:
            return image.size
    except UnidentifiedImageError as error:
        raise FileError(_unidentified(content, name, None)) from error
    except Image.DecompressionBombError as error:
        raise FileError(f"{name} has too many pixels to be opened safely ({error})") from error
    except (OSError, *_DAMAGE) as error:
        raise FileError(f"{name} is damaged ({first_line(error)})") from error


def read_picture(path: Path) -> npt.NDArray[np.float64]:
    """Read a picture as float64 ``(C, H, W)`` in [0, 1]; greyscale has one channel, all else is converted to RGB.

    Every format that Pillow or an installed plugin of it opens is read, whatever the file's name. The picture is turned
    as its orientation tag says. Transparency, colour profiles, and frames after the first are dropped; ``decoded``
    says so. 16-bit PNG keeps its depth (in colour with the extra ``formats``; without it Pillow reads 8 bits, with a
    warning). A TIFF is read by what it says of its values (see ``tiff``): by their depth, by which end is white, and
    floats from 0 to 1 if no other range is stated; deep colours and float64 need that extra.

    Raises:
        FileError: The file is missing, ``open_picture`` refuses it, or its values are outside the range they should
            have or of unknown range: signed or 32-bit integers without stated extremes.
        MissingExtraError: Pillow cannot read this TIFF, and tifffile is not installed.
    """
    return decode_picture(read_bytes(path), str(path))


def decode_picture(content: bytes, name: str) -> npt.NDArray[np.float64]:
    """The picture in the bytes of a file, as ``read_picture`` returns it; messages call it ``name``."""
    return decoded(content, name).pixels


def decoded(content: bytes, name: str) -> Decoded:
    """The picture in the bytes of a file, as ``read_picture`` returns it, and what is dropped.

    Args:
        content: Bytes of the file.
        name: Name of the file in messages.

    Raises:
        FileError, MissingExtraError: As ``read_picture``.
    """
    stated = tiff.values(content, name) if content[:4] in tiff.SIGNATURES else None
    if stated is not None and tiff.needs_tifffile(content, stated):
        pixels = high_bit_depth.read_tiff(content, stated, name)
        turn, dropped = losses.of_tiff(content)
        return Decoded(losses.turned(pixels, turn), dropped)
    image, count = _opened(content, name)
    whole = high_bit_depth.read_png(content, name) if high_bit_depth.is_16_bit_png(content) else None
    try:
        pixels = _pixels(image, stated, name) if whole is None else whole
    except _DAMAGE as error:
        raise FileError(f"{name} cannot be converted to colours ({first_line(error)})") from error
    return Decoded(losses.turned(pixels, losses.orientation(image)), losses.dropped(image, count))


def _pixels(image: Image.Image, stated: tiff.Values | None, name: str) -> npt.NDArray[np.float64]:
    if image.mode.startswith("I") or image.mode == "F":
        stored = np.asarray(image)[None]
        white = 1.0 if image.mode == "F" else 65535.0
        return normalised(stored, 0.0, white, name) if stated is None else stated.normalised(stored, name)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"), np.float64)[None] / 255
    if image.mode in ("P", "PA", "RGBa"):
        image = image.convert("RGBA")  # Converted directly to RGB, Pillow warns of lost transparency, or refuses.
    return np.asarray(image.convert("RGB"), np.float64).transpose(2, 0, 1) / 255


def encode_picture(pixels: npt.NDArray[np.floating], file_format: str = "PNG", **options: Any) -> bytes:
    """A picture of ``(1 or 3, H, W)`` pixels in [0, 1], each rounded to the nearest of 256 levels.

    Args:
        pixels: The pixels.
        file_format: Pillow's name of the format.
        options: Pillow's options of that format.
    """
    whole = np.rint(pixels.astype(np.float64) * 255).astype(np.uint8)
    image = Image.fromarray(whole[0] if len(whole) == 1 else np.ascontiguousarray(whole.transpose(1, 2, 0)))
    if file_format != "PNG" or options:
        return _saved(image, file_format, **options)
    return _saved(image, "PNG", compress_type=zlib.Z_DEFAULT_STRATEGY if _repeats(np.asarray(image)) else zlib.Z_RLE)


def _repeats(picture: npt.NDArray[np.uint8]) -> bool:
    """Whether strings of values repeat in a picture ``(H, W)`` or ``(H, W, 3)``."""
    rows = max(1, BAND // picture[0].size)
    first = (len(picture) - rows) // 2 if rows < len(picture) else 0
    # Differences from the pixel to the left, as PNG's filters make them.
    band = np.diff(picture[first : first + rows], axis=1).tobytes()
    runs = zlib.compressobj(strategy=zlib.Z_RLE)
    return len(runs.compress(band) + runs.flush()) > REPEATS * len(zlib.compress(band))


def _saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    content = BytesIO()
    image.save(content, format=file_format, **options)
    return content.getvalue()


def write_png(path: str | Path, pixels: npt.NDArray[np.floating]) -> None:
    """Write ``(1 or 3, H, W)`` pixels in [0, 1] as an 8-bit PNG, which rounds them: a preview.

    Raises:
        ShapeError: The pixels have another shape.
        ValueRangeError: A pixel is not finite or outside [0, 1].
        FileError: The file cannot be written, or ``path`` does not end in ``.png``.
    """
    path = as_path(path, "the file")
    shape = pixels.shape if isinstance(pixels, np.ndarray) else shown(pixels)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or shape[0] not in (1, 3) or 0 in shape:
        raise ShapeError(f"cannot write an image of shape {shape} to {path}; needed is an array (1 or 3, H, W)")
    if path.suffix.lower() != ".png":
        raise FileError(f"cannot write {path} as PNG; give a name that ends in .png")
    check_pixels(pixels, f"the image for {path}")
    with writing(path) as temporary:
        temporary.write_bytes(encode_picture(pixels))
