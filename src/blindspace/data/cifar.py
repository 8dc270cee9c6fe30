"""Readers of CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in each layout: PNG sheets, binary files and Python pickles.

Every reader returns images uint8 ``(N, 3, 32, 32)`` and labels int64 ``(N,)`` of the files given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError
from ..files import read_bytes
from .imageset import Bytes, Labels
from .pickle_parser import Call, read_pickled
from .picture_files import open_picture

_PIXELS = 3 * 32 * 32


def read_sheets(sheets: Sequence[Path], labels: Path) -> tuple[Bytes, Labels]:
    """Read PNG sheets in which each row of 1024 RGB pixels is one 32×32 image, and a JSON list of all labels.

    Raises:
        FileError: A file is missing or damaged, or the sizes do not match.
    """
    images = np.concatenate([_sheet(path) for path in sheets])
    content = read_bytes(labels)
    try:
        values = np.array(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{labels} is not a JSON list of labels ({error}); fetch it again") from error
    if values.dtype.kind != "i" or values.shape != (len(images),):
        raise FileError(f"{labels} must be a JSON list of {len(images)} integers; it has the shape {values.shape}")
    return images, values.astype(np.int64)


def _sheet(path: Path) -> Bytes:
    image = open_picture(read_bytes(path), str(path), ("PNG",))  # 1024×10000 pixels are well below Pillow's limit
    if image.mode != "RGB" or image.width != 32 * 32:
        raise FileError(f"{path} is {image.mode} of width {image.width}; a sheet is RGB of width 1024")
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))


def read_binaries(paths: Sequence[Path], label_bytes: int) -> tuple[Bytes, Labels]:
    """Read the binary layout: records of ``label_bytes`` labels, of which the last is used, and 3072 pixels.

    Raises:
        FileError: A file is missing or not a whole number of records long.
    """
    record, parts = label_bytes + _PIXELS, []
    for path in paths:
        content = np.frombuffer(read_bytes(path), np.uint8)
        if not len(content) or len(content) % record:
            raise FileError(
                f"{path} holds {len(content)} bytes, not a multiple of {record}; it is damaged or truncated"
            )
        parts.append(content.reshape(-1, record))
    records = np.concatenate(parts)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1].astype(np.int64)


def read_pickles(paths: Sequence[Path], key: str) -> tuple[Bytes, Labels]:
    """Read the Python layout, without unpickling, the labels from ``key`` (``labels`` or ``fine_labels``).

    Raises:
        FileError: A file is missing, damaged or not the expected pickled dict.
    """
    images, labels = zip(*(_batch(path, key) for path in paths), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _batch(path: Path, key: str) -> tuple[Bytes, Labels]:
    content = read_pickled(path)
    if not isinstance(content, dict) or not {"data", key} <= content.keys():
        raise FileError(f"{path} is not a pickled dict with the keys 'data' and {key!r}")
    try:
        images = _array(content["data"])
    except (ValueError, TypeError) as error:
        raise FileError(f"{path}: its 'data' is not a uint8 array of shape (N, 3072) ({error})") from error
    labels = content[key]
    if not isinstance(labels, list) or len(labels) != len(images) or any(type(label) is not int for label in labels):
        raise FileError(f"{path}: its {key!r} is not a list of {len(images)} integers, one for each image")
    if any(not 0 <= label < 256 for label in labels):
        raise FileError(f"{path}: its {key!r} holds numbers that are no labels")
    return images, np.array(labels, np.int64)


def _array(call: Any) -> Bytes:
    """The array that a pickled call of numpy describes."""
    if not isinstance(call, Call):
        raise ValueError(f"it is a {type(call).__name__}")
    kind = call.function.replace("numpy._core.", "numpy.core.")  # moved by numpy 2
    if kind == "numpy.core.multiarray._reconstruct":
        _, shape, dtype, fortran, raw = call.state
    elif kind == "numpy.core.numeric._frombuffer":  # pickle protocol 5
        raw, dtype, shape, order = call.arguments
        fortran = order != "C"
    else:
        raise ValueError(f"it is made by {call.function}")
    if isinstance(raw, str):  # a Python 2 string
        raw = raw.encode("latin-1")
    if not isinstance(dtype, Call) or dtype.function != "numpy.dtype" or dtype.arguments[:1] not in (("u1",), ("|u1",)):
        raise ValueError("another dtype")
    if fortran is not False or not isinstance(raw, bytes | bytearray):
        raise ValueError("another memory layout")
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != _PIXELS or len(raw) != shape[0] * _PIXELS:
        raise ValueError(f"{len(raw)} bytes, shape {shape}")
    return np.frombuffer(raw, np.uint8).reshape(-1, 3, 32, 32)
