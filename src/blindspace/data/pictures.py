"""Picture files, read and written through Pillow, whole or not at all."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..errors import FileError, ShapeError
from ..files import writing
from .ranges import check_pixels

PICTURES: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")


def open_picture(path: Path, formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """Open a picture and decode all of it (of an animation the first frame).

    Raises:
        FileError: it is missing, truncated, too large for Pillow's limit, or none of ``formats``.
    """
    try:
        with Image.open(path, formats=formats) as image:
            image.load()  # else a truncated file would show only later
            return image
    except UnidentifiedImageError as error:
        raise FileError(f"{path} is not a {', '.join(formats)} image") from error
    except Image.DecompressionBombError as error:
        raise FileError(f"{path} has too many pixels to be opened safely ({error})") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (SyntaxError, ValueError, struct.error, zlib.error, IndexError, TypeError, EOFError) as error:
        # What Pillow's decoders raise for damaged files.
        raise FileError(f"{path} is damaged ({error})") from error


def read_picture(path: Path) -> npt.NDArray[np.float64]:
    """Read a picture as float64 ``(C, H, W)`` in [0, 1]; greyscale has one channel, all else is made RGB.

    Transparency is dropped. 16-bit greyscale keeps its depth, 16-bit colour comes from Pillow with 8. The
    pixels stand as they are stored: a camera's orientation mark is not applied.

    Raises:
        FileError: as `open_picture`, or the pixels are floats or 32-bit integers, whose range is not known.
    """
    image = open_picture(path)
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image).astype(np.float64)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise FileError(f"{path} holds {image.mode} pixels of unknown range; save them in [0, 1] as .npz")
        return np.asarray((pixels / 65535)[None])
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"), np.float64)[None] / 255
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of the transparency it loses
    return np.asarray(image.convert("RGB"), np.float64).transpose(2, 0, 1) / 255


def write_png(path: Path, pixels: npt.NDArray[np.floating]) -> None:
    """Write ``(C, H, W)`` pixels in [0, 1], C being 1 or 3, as an 8-bit PNG: a preview, as it rounds.

    Raises:
        ShapeError: another shape.
        ValueRangeError: a pixel is not finite or outside [0, 1].
        FileError: it cannot be written, or ``path`` does not end in ``.png``.
    """
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or 0 in pixels.shape:
        raise ShapeError(f"cannot write an image of shape {pixels.shape} to {path}; needed is (1 or 3, H, W)")
    if path.suffix.lower() != ".png":
        raise FileError(f"cannot write {path} as PNG; give a name that ends in .png")
    check_pixels(pixels, f"the image for {path}")
    whole = np.rint(pixels.astype(np.float64) * 255).astype(np.uint8)
    content = whole[0] if len(whole) == 1 else np.ascontiguousarray(whole.transpose(1, 2, 0))
    with writing(path) as temporary:
        Image.fromarray(content).save(temporary, format="PNG")
