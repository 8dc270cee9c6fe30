"""One image as the bytes of a file and back, in the formats that keep what is promised of it.

A harmless perturbation is harmless only as long as its digits are kept. ``npz``, ``safetensors`` and ``tiff`` keep all
of them; ``png16`` rounds to 65536 levels and ``png`` to 256, which ``perturbations.round_to_levels`` prepares an image
for. JPEG throws away what people do not see, so it can be measured but not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from ..errors import FileError, ShapeError, UnknownNameError
from ..files import writing
from . import deep
from .arrays import decode_array
from .pictures import as_bytes, decode_picture, png
from .ranges import check_pixels

JPEG_QUALITY = 95

SUFFIX: dict[str, str] = {"png": ".png", "png16": ".png", "tiff": ".tif", "npz": ".npz", "safetensors": ".safetensors"}
"""Of the files of each format."""

FORMATS: tuple[str, ...] = tuple(SUFFIX)

JPEG_REFUSED = (
    "JPEG keeps no promise: at quality 95 it changed 8 of 200 labels of cifar-resnet and outputs by up to 1.4 "
    f"(8-bit PNG: none, by 0.015); take one of {', '.join(FORMATS)}"
)
"""The 200 samples under harmless noise of L∞ up to 0.1; of the samples as they are JPEG changes 6 labels."""

_BY_SUFFIX = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".npz": "npz", ".safetensors": "safetensors"}
_JPEG = ("jpeg", "jpg", ".jpg", ".jpeg")


def encode(pixels: npt.NDArray[np.floating], format: str, measuring: bool = False) -> bytes:
    """One image as the content of a file.

    Args:
        pixels: ``(C, H, W)`` in [0, 1]; of pictures C is 1 or 3.
        format: one of ``FORMATS``. ``png`` and ``png16`` round each value to the nearest of 256 or 65536 levels;
            ``tiff`` and the array files keep float32 and float64 as they are.
        measuring: allows ``jpeg`` (quality 95, colours in full resolution), to measure what it does.

    Raises:
        UnknownNameError: no format has that name, or it is ``jpeg``, which keeps no promise.
        ShapeError: pixels have another shape or are no floats.
        ValueRangeError: a pixel is not finite or outside [0, 1].
        MissingExtraError: ``png16`` or ``tiff`` without the extra ``formats``.
    """
    if not (measuring and format == "jpeg"):
        check_format(format)
    if pixels.ndim != 3 or pixels.dtype.kind != "f" or not pixels.size:
        raise ShapeError(f"cannot write {pixels.dtype} of shape {pixels.shape}; needed are floats (C, H, W)")
    check_pixels(pixels, "the image to write")
    if format not in ("npz", "safetensors") and len(pixels) not in (1, 3):
        raise ShapeError(f"{format} holds 1 or 3 channels, got {pixels.shape}; take npz or safetensors")
    return _ENCODERS[format](pixels)


def decode(content: bytes, format: str, name: str = "the file") -> npt.NDArray[np.float64]:
    """The image in the content of a file, float64 ``(C, H, W)``.

    Args:
        content: of the file.
        format: one of ``FORMATS``, or ``jpeg``.
        name: of the file, for messages.

    Raises:
        UnknownNameError: no format has that name.
        FileError: the content is damaged, of another format, or holds several images.
        MissingExtraError: the format needs the extra ``formats``.
    """
    if format != "jpeg":
        check_format(format)
    if format in ("npz", "safetensors"):
        array = decode_array(content, SUFFIX[format], name)
        if array.ndim != 3:
            raise FileError(f"{name} holds {len(array)} images where one is needed")
        return array
    if not content.startswith(_MAGIC[format]):
        raise FileError(f"{name} is damaged, or no {format.removesuffix('16').upper()}: it begins in another way")
    return decode_picture(content, name)


def save(path: Path, pixels: npt.NDArray[np.floating], format: str | None = None) -> None:
    """Write one image, whole or not at all.

    Args:
        path: the file.
        pixels: as of `encode`.
        format: one of ``FORMATS``; told from the suffix if None, ``.png`` being 8-bit.

    Raises:
        FileError: the suffix fits no format, or not the one asked for, or the file cannot be written.
        BlindspaceError: as `encode`.
    """
    suffix = path.suffix.lower()
    if format is None:
        if suffix in _JPEG:
            check_format(suffix)
        if suffix not in _BY_SUFFIX:
            raise FileError(f"cannot tell the format of {path} by its suffix; known are {' '.join(_BY_SUFFIX)}")
        format = _BY_SUFFIX[suffix]
    check_format(format)
    if _BY_SUFFIX.get(suffix) != format.removesuffix("16"):
        raise FileError(f"cannot write {path} as {format}; give a name that ends in {SUFFIX[format]}")
    content = encode(pixels, format)
    with writing(path) as temporary:
        temporary.write_bytes(content)


def check_format(format: str) -> None:
    """Refuse what is no format that keeps what is promised.

    Raises:
        UnknownNameError: it is none of ``FORMATS``.
    """
    if format.lower() in _JPEG:
        raise UnknownNameError(JPEG_REFUSED)
    if format not in FORMATS:
        raise UnknownNameError(f"no format is called {format!r}; there are {', '.join(FORMATS)}")


def _npz(pixels: npt.NDArray[np.floating]) -> bytes:
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, image=pixels)
    return content.getvalue()


def _safetensors(pixels: npt.NDArray[np.floating]) -> bytes:
    # It writes the memory as it lies, so it must lie in order.
    return bytes(safetensors.numpy.save({"image": np.ascontiguousarray(pixels)}))


def _jpeg(pixels: npt.NDArray[np.floating]) -> bytes:
    content = BytesIO()
    as_bytes(pixels).save(content, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return content.getvalue()


_ENCODERS: dict[str, Callable[[npt.NDArray[Any]], bytes]] = {
    "png": png,
    "png16": deep.write_png,
    "tiff": deep.write_tiff,
    "npz": _npz,
    "safetensors": _safetensors,
    "jpeg": _jpeg,
}

_MAGIC: dict[str, Any] = {"png": deep.PNG, "png16": deep.PNG, "tiff": deep.TIFF, "jpeg": b"\xff\xd8"}
