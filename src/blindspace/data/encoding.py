"""Encoding of one image as the bytes of a file, in formats of known precision, and decoding.

A harmless perturbation stays harmless only as long as its digits are kept. ``npz``, ``safetensors`` and ``tiff`` keep
all of them; ``png16`` rounds to 65536 levels and ``png`` to 256, for which ``perturbations.round_to_levels`` prepares
an image. JPEG discards what people do not see, so it serves for measurements only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from ..errors import FileError, ShapeError, UnknownNameError, did_you_mean
from ..extras import require
from ..files import writing
from . import high_bit_depth, tiff
from .array_files import decode_array
from .picture_files import decode_picture, encode_picture
from .pixel_range import check_pixels

JPEG_QUALITY = 95

_LIBRARY = {"png16": "png", "tiff": "tifffile"}

SUFFIX: dict[str, str] = {"png": ".png", "png16": ".png", "tiff": ".tif", "npz": ".npz", "safetensors": ".safetensors"}
"""Suffix of the files of each format."""

FORMATS: tuple[str, ...] = tuple(SUFFIX)

JPEG_REFUSED = (
    "JPEG keeps no promise: at quality 95 it changed 8 of 200 labels of cifar-resnet and outputs by up to 1.4 "
    f"(8-bit PNG: none, by 0.015); take one of {', '.join(FORMATS)}"
)
"""Measured on the 200 samples with harmless noise of L∞ up to 0.1; without noise JPEG changes 6 labels."""

_BY_SUFFIX = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".npz": "npz", ".safetensors": "safetensors"}
_JPEG = ("jpeg", "jpg", ".jpg", ".jpeg")


def encode(pixels: npt.NDArray[np.floating], file_format: str, measuring: bool = False) -> bytes:
    """One image as the content of a file.

    Args:
        pixels: ``(C, H, W)`` in [0, 1]; for picture formats C is 1 or 3.
        file_format: One of ``FORMATS``. ``png`` and ``png16`` round each value to the nearest of 256 or 65536 levels;
            ``tiff`` and the array files keep float32 and float64 exactly.
        measuring: Whether ``jpeg`` (quality 95, colours in full resolution) is allowed, to measure its effect.

    Raises:
        UnknownNameError: No format has that name, or it is ``jpeg``, which guarantees nothing.
        ShapeError: The pixels have another shape or are not floats.
        ValueRangeError: A pixel is not finite or outside [0, 1].
        MissingExtraError: ``png16`` or ``tiff`` without the extra ``formats``.
    """
    if not (measuring and file_format == "jpeg"):
        check_format(file_format)
    if pixels.ndim != 3 or pixels.dtype.kind != "f" or not pixels.size:
        raise ShapeError(f"cannot write {pixels.dtype} of shape {pixels.shape}; needed are floats (C, H, W)")
    check_pixels(pixels, "the image to write")
    if file_format not in ("npz", "safetensors") and len(pixels) not in (1, 3):
        raise ShapeError(f"{file_format} holds 1 or 3 channels, got {pixels.shape}; take npz or safetensors")
    return _ENCODERS[file_format](pixels)


def decode(content: bytes, file_format: str, name: str = "the file") -> npt.NDArray[np.float64]:
    """The image in the content of a file, float64 ``(C, H, W)``.

    Args:
        content: Bytes of the file.
        file_format: One of ``FORMATS``, or ``jpeg``.
        name: Name of the file in messages.

    Raises:
        UnknownNameError: No format has that name.
        FileError: The content is damaged, has another format, or contains several images.
        MissingExtraError: The format needs the extra ``formats``.
    """
    if file_format != "jpeg":
        check_format(file_format)
    if file_format in ("npz", "safetensors"):
        array = decode_array(content, SUFFIX[file_format], name)
        if array.ndim != 3:
            raise FileError(f"{name} holds {len(array)} images where one is needed")
        return array
    if not content.startswith(_MAGIC[file_format]):
        raise FileError(
            f"{name} is damaged, or no {file_format.removesuffix('16').upper()}: it begins with other bytes"
        )
    return decode_picture(content, name)


def save(path: Path, pixels: npt.NDArray[np.floating], file_format: str | None = None) -> None:
    """Write one image, completely or not at all.

    Args:
        path: The file.
        pixels: As for ``encode``.
        file_format: One of ``FORMATS``; determined by the suffix if None, where ``.png`` means 8 bits.

    Raises:
        FileError: The suffix belongs to no format, or not to the given one, or the file cannot be written.
        BlindspaceError: As for ``encode``.
    """
    suffix = path.suffix.lower()
    if file_format is None:
        if suffix in _JPEG:
            check_format(suffix)
        if suffix not in _BY_SUFFIX:
            raise FileError(f"cannot determine the format of {path} from its suffix; known are {' '.join(_BY_SUFFIX)}")
        file_format = _BY_SUFFIX[suffix]
    check_format(file_format)
    if _BY_SUFFIX.get(suffix) != file_format.removesuffix("16"):
        raise FileError(f"cannot write {path} as {file_format}; give a name that ends in {SUFFIX[file_format]}")
    content = encode(pixels, file_format)
    with writing(path) as temporary:
        temporary.write_bytes(content)


def check_format(file_format: str) -> None:
    """Refuse names that are not formats of known precision, and formats whose library is not installed.

    Raises:
        UnknownNameError: It is none of ``FORMATS``.
        MissingExtraError: The format needs the extra ``formats``.
    """
    if file_format.lower() in _JPEG:
        raise UnknownNameError(JPEG_REFUSED)
    if file_format not in FORMATS:
        raise UnknownNameError(
            f"no format is called {file_format!r}{did_you_mean(file_format, FORMATS)}; there are {', '.join(FORMATS)}"
        )
    if file_format in _LIBRARY:
        require(_LIBRARY[file_format], high_bit_depth.EXTRA, f"the format {file_format}")


def _npz(pixels: npt.NDArray[np.floating]) -> bytes:
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, image=pixels)
    return content.getvalue()


def _safetensors(pixels: npt.NDArray[np.floating]) -> bytes:
    # safetensors writes the memory without regard to strides, so it must be contiguous.
    return bytes(safetensors.numpy.save({"image": np.ascontiguousarray(pixels)}))


_ENCODERS: dict[str, Callable[[npt.NDArray[Any]], bytes]] = {
    "png": encode_picture,
    "png16": high_bit_depth.write_png,
    "tiff": high_bit_depth.write_tiff,
    "npz": _npz,
    "safetensors": _safetensors,
    "jpeg": partial(encode_picture, file_format="JPEG", quality=JPEG_QUALITY, subsampling=0),
}

_MAGIC: dict[str, Any] = {
    **dict.fromkeys(("png", "png16"), high_bit_depth.PNG),
    "tiff": tiff.SIGNATURES,
    "jpeg": b"\xff\xd8",
}
