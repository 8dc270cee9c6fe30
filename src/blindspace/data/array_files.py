"""Images as arrays in .npy, .npz and .safetensors files; pickles in them are refused."""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from safetensors.torch import load as from_safetensors

from ..errors import FileError, ShapeError, first_line
from ..files import as_path, read_bytes, writing

ARRAYS: tuple[str, ...] = (".npy", ".npz", ".safetensors")

_DAMAGE = (OSError, ValueError, LookupError, EOFError, MemoryError, NotImplementedError, SyntaxError, TypeError,
           OverflowError, RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
           SafetensorError)  # fmt: skip
"""Exceptions that the readers raise for damaged files."""


def read_array(path: Path) -> npt.NDArray[np.float64]:
    """Read the images in a file: floats unchanged, uint8 divided by 255.

    In ``.npz`` and ``.safetensors`` the images are the array ``images``, else ``image``, else the only array.

    Returns:
        float64 ``(C, H, W)`` or ``(N, C, H, W)``, as in the file.

    Raises:
        FileError: The file is missing, damaged, needs unpickling, or contains other arrays.
    """
    return decode_array(read_bytes(path), path.suffix.lower(), str(path))


def decode_array(content: bytes, suffix: str, name: str) -> npt.NDArray[np.float64]:
    """The images in the bytes of a file, as ``read_array`` returns them.

    Args:
        content: Bytes of the file.
        suffix: One of ``ARRAYS``, which names the format.
        name: Name of the file in messages.

    Raises:
        FileError: The file is damaged, needs unpickling, or contains other arrays.
    """
    array = _array(content, suffix, name)
    if array.ndim not in (3, 4) or not array.size:
        raise FileError(f"{name} holds an array of shape {array.shape}; needed is (C, H, W) or (N, C, H, W)")
    if array.dtype == np.uint8:
        return array.astype(np.float64) / 255
    if array.dtype.kind != "f":
        raise FileError(f"{name} holds {array.dtype}; needed are floats, or uint8 from 0 to 255")
    return array.astype(np.float64)


def read_numbers(path: Path) -> npt.NDArray[Any]:
    """Read an array of any shape and numeric dtype, unchanged; of several as ``read_array`` chooses.

    Raises:
        FileError: The file is missing, damaged, needs unpickling, or contains other arrays.
    """
    array = _array(read_bytes(path), path.suffix.lower(), str(path))
    if array.dtype.kind not in "biuf":
        raise FileError(f"{path} holds {array.dtype}; needed are numbers")
    return array


def _array(content: bytes, suffix: str, name: str) -> npt.NDArray[Any]:
    try:
        return _safetensors(content, name) if suffix == ".safetensors" else _numpy(content, name)
    except FileError:
        raise
    except _DAMAGE as error:
        if "pickle" in str(error):
            raise FileError(f"{name} needs unpickling, which can run code; save plain numbers as .npz") from error
        raise FileError(f"{name} is damaged ({first_line(error) if str(error) else 'cut short'})") from error


def _numpy(content: bytes, name: str) -> npt.NDArray[Any]:
    arrays = np.load(BytesIO(content), allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        return arrays
    with arrays:
        return np.asarray(arrays[_choose(name, list(arrays.files))])


def _safetensors(content: bytes, name: str) -> npt.NDArray[Any]:
    # By way of torch, because numpy has no bfloat16.
    arrays = from_safetensors(content)
    tensor = arrays[_choose(name, sorted(arrays))]
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _choose(name: str, keys: list[str]) -> str:
    for key in ("images", "image"):
        if key in keys:
            return key
    if len(keys) != 1:
        found = ", ".join(map(repr, keys[:8])) or "none"
        raise FileError(f"{name} holds the arrays {found}; name the one to read 'images'")
    return keys[0]


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata that ``write_images`` stored; empty if there are none, as in files of other programs.

    Args:
        path: A file that ``read_array`` reads.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(path, framework="numpy") as content:
                words = content.metadata() or {}
        else:
            loaded = np.load(path, allow_pickle=False)
            if isinstance(loaded, np.ndarray) or "metadata" not in loaded:
                return {}
            with loaded:
                words = json.loads(str(loaded["metadata"]))
    except _DAMAGE:
        return {}
    if not isinstance(words, dict):
        return {}
    return {name: word for name, word in words.items() if isinstance(name, str) and isinstance(word, str)}


def read_names(path: Path) -> list[str] | None:
    """The names of images that ``write_images`` stored as ``names`` in the metadata; None if there are none.

    Args:
        path: A file that ``read_array`` reads.
    """
    try:
        names = json.loads(read_metadata(path)["names"])
    except _DAMAGE:
        return None  # The file was written by another program.
    # Files are written under these names, so none may point outside its folder.
    return names if isinstance(names, list) and all(map(_is_plain, names)) else None


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and Path(name).name == name and name not in ("", "..")


def write_images(
    path: str | Path,
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.integer] | None = None,
    metadata: Mapping[str, str] | None = None,
    extra: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write images, labels and metadata to ``.npz`` or ``.safetensors``, completely or not at all.

    Args:
        path: The file; its suffix determines the format.
        images: ``(N, C, H, W)``, floats or uint8, written with their own dtype as ``images``.
        labels: Integers ``(N,)``, written as ``labels``.
        metadata: Strings by name; in ``.npz`` the array ``metadata`` contains them as JSON.
        extra: Further arrays by name.

    Raises:
        ShapeError: An array has another shape or dtype.
        FileError: The suffix is another, a name is used twice, or the file cannot be written.
    """
    path = as_path(path, "the file")
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".safetensors"):
        raise FileError(f"cannot write images to {path}; give a name that ends in .npz or .safetensors")
    if images.ndim != 4 or (images.dtype.kind != "f" and images.dtype != np.uint8):
        raise ShapeError(f"images are {images.dtype} of shape {images.shape}; needed are floats or uint8 (N, C, H, W)")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise ShapeError(
            f"labels are {labels.dtype} of shape {labels.shape}; needed are integers of shape ({len(images)},)"
        )
    arrays = {"images": images} if labels is None else {"images": images, "labels": labels}
    for name, array in (extra or {}).items():
        if name in arrays or name == "metadata" or array.dtype.kind not in "biuf":
            raise FileError(f"cannot write the array {name!r} ({array.dtype}) to {path}; give numbers and a free name")
        arrays[name] = array
    with writing(path) as temporary:
        if suffix == ".npz":
            np.savez_compressed(
                temporary, allow_pickle=False, metadata=np.array(json.dumps(dict(metadata or {}))), **arrays
            )
        else:
            # safetensors writes the memory without regard to strides, so it must be contiguous.
            save_file(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, dict(metadata or {})
            )
