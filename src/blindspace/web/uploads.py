"""Files of users, limited in size and kind before they are decoded, and brought to a network's input."""

from __future__ import annotations

import math
import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import check_pixels
from ..data.array_files import decode_array
from ..data.channels import fewer_channels, in_channels
from ..data.picture_files import decoded, dimensions
from ..errors import FileError, ShapeError
from ..maps import Shape
from ..networks.preprocessing_modules import CentreCrop, Resize
from .session import Upload

LARGEST_FILE = 20 << 20
"""Largest size of an upload in bytes."""

LARGEST_PICTURE = 1 << 24
"""Largest number of pixels of a picture."""

LARGEST_ARRAY = 256 << 20
"""Largest size in bytes of the arrays in a file once they are unpacked."""

ARRAY = ".npz"

ENDINGS = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ARRAY]
"""How the names of files end that the page offers to send; what they hold is determined by their content."""


def is_sent(path: object) -> bool:
    """Whether a path is that of a file in the folder of the app, where uploads arrive; whether it exists or not."""
    if not isinstance(path, str) or "\0" in path or not path.startswith("/"):
        return False
    return Path(path).resolve().is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]).resolve())


def taken(path: str) -> Upload:
    """The content of a file that has arrived in the folder of the app, which is then deleted from the disk.

    Raises:
        FileError: It is too large, has been deleted, or is no file of that folder.
    """
    file = Path(path)
    if not is_sent(path):
        raise FileError(f"{file.name} is not a file that was sent to this page")
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise FileError(f"{file.name} is larger than {LARGEST_FILE >> 20} MB; make it smaller first")
        return Upload(file.name, file.read_bytes())
    except OSError as error:
        raise FileError(f"{file.name} cannot be read any more; send it again") from error
    finally:
        file.unlink(missing_ok=True)


def pixels_of(upload: Upload, shape: Shape, pixel_range: bool = True) -> tuple[Tensor, str]:
    """An upload at the size that a network reads.

    A picture is cut to the aspect ratio in its middle, resized, and rounded to eight bits, so that a PNG holds it
    exactly. An array is taken as it is.

    Args:
        upload: The file.
        shape: Shape of the network's input ``(C, H, W)``.
        pixel_range: Whether the values of an array must lie in [0, 1].

    Returns:
        Float64 ``(1, C, H, W)``, and what was done to it, in words.

    Raises:
        FileError: It is no picture and no array, damaged or too large.
        ShapeError: An array has another shape, or a picture is too narrow.
        ValueRangeError: A value is out of range.
    """
    if upload.name.lower().endswith(ARRAY) or upload.content.startswith(b"PK\x03\x04"):
        return _array(upload, shape, pixel_range), "read as it is"
    width, height = dimensions(upload.content, upload.name)
    if width * height > LARGEST_PICTURE:
        raise FileError(
            f"{upload.name} has {width} × {height} pixels, more than {LARGEST_PICTURE:,} in all; make it smaller first"
        )
    found = decoded(upload.content, upload.name)
    pixels = fewer_channels(in_channels(found.pixels, shape), shape[0])
    height, width = pixels.shape[1:]
    done = [f"{width} × {height} pixels"]
    x = torch.from_numpy(np.ascontiguousarray(pixels))[None]
    if (height, width) != shape[1:]:
        x = _resized(x, shape, upload.name)
        done.append(f"its middle resized to {shape[2]} × {shape[1]}")
    if len(found.pixels) != shape[0]:
        done.append("made grey" if shape[0] == 1 else "grey in three equal channels")
    done += [f"{what} left out" for what in found.dropped]
    return (x.clamp(0, 1) * 255).round() / 255, ", ".join(done)


def _array(upload: Upload, shape: Shape, pixel_range: bool) -> Tensor:
    try:
        with zipfile.ZipFile(BytesIO(upload.content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise FileError(f"{upload.name} is damaged: it is no .npz file") from error
    if size > LARGEST_ARRAY:
        raise FileError(f"{upload.name} unpacks to {size >> 20} MB, more than {LARGEST_ARRAY >> 20}")
    array = decode_array(upload.content, ARRAY, upload.name)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    array = in_channels(array, shape) if array.ndim == 3 else array
    if array.shape != shape:
        raise ShapeError(f"{upload.name} holds an array of shape {array.shape}; this network reads one image {shape}")
    check_pixels(array, upload.name, *((0.0, 1.0) if pixel_range else (-math.inf, math.inf)))
    return torch.from_numpy(np.ascontiguousarray(array))[None]


def _resized(x: Tensor, shape: Shape, name: str) -> Tensor:
    """The middle of a picture, of the aspect ratio that is wanted, at the size that is wanted."""
    (height, width), (wanted_height, wanted_width) = x.shape[2:], shape[1:]
    scale = min(height / wanted_height, width / wanted_width)
    crop = (min(height, max(round(wanted_height * scale), 1)), min(width, max(round(wanted_width * scale), 1)))
    found: Tensor = Resize(shape[1:], "bilinear")(CentreCrop(crop)(x))
    if found.shape[2:] != shape[1:]:
        raise ShapeError(f"{name} of {width} × {height} pixels cannot be resized to {wanted_width} × {wanted_height}")
    return found
