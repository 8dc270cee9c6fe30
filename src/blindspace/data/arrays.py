"""Images as arrays in .npy, .npz and .safetensors files; none of them may hold a pickle."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import FileError, ShapeError
from ..files import writing

ARRAYS: tuple[str, ...] = (".npy", ".npz", ".safetensors")


def read_array(path: Path) -> npt.NDArray[np.float64]:
    """Read the images in a file: floats as they are, uint8 divided by 255.

    In ``.npz`` and ``.safetensors`` they are the array ``images``, else ``image``, else the only one.

    Returns:
        float64 ``(C, H, W)`` or ``(N, C, H, W)``, as in the file.

    Raises:
        FileError: it is missing, damaged, needs unpickling, or holds other arrays.
    """
    try:
        array = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_numpy(path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, SafetensorError) as error:
        if "pickle" in str(error):
            raise FileError(f"{path} needs unpickling, which can run code; save plain numbers as .npz") from error
        raise FileError(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else 'cut short'})") from error
    if array.ndim not in (3, 4) or not array.size:
        raise FileError(f"{path} holds an array of shape {array.shape}; needed is (C, H, W) or (N, C, H, W)")
    if array.dtype == np.uint8:
        return array.astype(np.float64) / 255
    if array.dtype.kind != "f":
        raise FileError(f"{path} holds {array.dtype}; needed are floats, or uint8 from 0 to 255")
    return array.astype(np.float64)


def _read_numpy(path: Path) -> npt.NDArray[Any]:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return content
    with content:
        return np.asarray(content[_choose(path, list(content.files))])


def _read_safetensors(path: Path) -> npt.NDArray[Any]:
    # Through torch, as numpy has no bfloat16.
    with safe_open(path, framework="pt") as content:
        tensor: torch.Tensor = content.get_tensor(_choose(path, list(content.keys())))
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _choose(path: Path, keys: list[str]) -> str:
    for key in ("images", "image"):
        if key in keys:
            return key
    if len(keys) != 1:
        found = ", ".join(map(repr, keys[:8])) or "none"
        raise FileError(f"{path} holds the arrays {found}; name the one to read 'images'")
    return keys[0]


def write_images(
    path: Path,
    images: npt.NDArray[Any],
    labels: npt.NDArray[np.integer] | None = None,
    metadata: Mapping[str, str] | None = None,
    extra: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write images and what belongs to them to ``.npz`` or ``.safetensors``, whole or not at all.

    Args:
        path: the file; its suffix chooses the format.
        images: ``(N, C, H, W)``, floats or uint8, written with their own dtype as ``images``.
        labels: integers ``(N,)``, written as ``labels``.
        metadata: words; in ``.npz`` the array ``metadata`` holds them as JSON.
        extra: further arrays by name.

    Raises:
        ShapeError: a shape or dtype is another.
        FileError: another suffix, a name taken twice, or it cannot be written.
    """
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
    words = dict(metadata or {})
    for name, array in (extra or {}).items():
        if name in arrays or name == "metadata" or array.dtype.kind not in "biuf":
            raise FileError(f"cannot write the array {name!r} ({array.dtype}) to {path}; give numbers and a free name")
        arrays[name] = array
    with writing(path) as temporary:
        if suffix == ".npz":
            np.savez_compressed(temporary, allow_pickle=False, metadata=np.array(json.dumps(words)), **arrays)
        else:
            # safetensors writes the memory as it lies, so it must lie in order.
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, words)
