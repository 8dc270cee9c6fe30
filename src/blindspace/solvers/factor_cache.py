"""Factorisations kept on disk, so that a second run starts at once.

There is one file in the safetensors format per factorisation, named by the digest of what it was computed from: solver,
layer, weights, shapes and dtypes. A file is used only if format, library version, key and the SHA-256 of every byte are
right; otherwise it is deleted and computed anew. What cannot be kept (no space, no permission) is computed every time.

Files are written under another name and renamed, and read into memory rather than mapped: two processes at once, or two
machines on one network folder, can at worst do the same work twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import BlindspaceWarning, FileError, ValueRangeError
from ..files import home, writing
from ..maps.content_key import content_key

Arrays = dict[str, np.ndarray]

VERSION = version("blindspace")

FORMAT = "1"  # Version of the file format; files of another one are computed anew

SLOW = 0.5
"""Seconds that a factorisation must have taken to be kept, unless ``BLINDSPACE_CACHE_SECONDS`` says otherwise."""

LIMIT = 8 << 30
"""Bytes that all files together may take, unless ``BLINDSPACE_CACHE_LIMIT`` says otherwise; 0 turns the cache off."""

PIECE = 4 << 20  # Bytes read, hashed and checked at a time, few enough for the processor's cache
HEADER_LIMIT = 1 << 20  # Largest size of a header in bytes; a header that claims more is damaged
LEFTOVER = 3600.0  # Seconds after which a half-written file is that of a killed process

DTYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32, "U8": np.uint8, "BOOL": np.bool_}
"""Dtypes that are kept, by their names in the files; complex numbers are kept as pairs of real ones."""

DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}

_warned: set[str] = set()
"""Kinds of warnings that have been given."""


class Usage(NamedTuple):
    """Contents of the cache: the number of factorisations, and bytes, half-written files included."""

    files: int
    size: int


def kept(key: Mapping[str, object], compute: Callable[[], Arrays]) -> Arrays:
    """The arrays that ``compute`` returns: from disk if they were kept, and kept there if computing was slow.

    Args:
        key: Everything that the arrays depend on: plain values, arrays, tensors and maps. At least the solver's name,
            the version of its algorithm, and the map. If it holds anything of unknown kind, nothing is kept.
        compute: Computes the arrays, real or complex.

    Returns:
        The arrays, bit for bit those computed; contiguous in C's order or Fortran's, as they were. They belong to the
        caller and may be written to.

    Raises:
        ValueRangeError: ``BLINDSPACE_CACHE_LIMIT`` is not a number of bytes, or ``BLINDSPACE_CACHE_SECONDS`` is not a
            number of seconds.
    """
    limit, slow = _limit(), _slow()
    made_from = content_key(key) if limit else None
    if made_from is None:
        return compute()
    digest = _hash_of(made_from)
    found = _read(digest)
    if found is not None:
        return found
    started = time.perf_counter()
    arrays = {name: array if _ordered(array) else np.ascontiguousarray(array) for name, array in compute().items()}
    if time.perf_counter() - started >= slow:
        _store(digest, arrays, limit)
    return arrays


def packed(value: Mapping[str, object]) -> np.ndarray:
    """Plain values as an array of bytes, to be kept with the other arrays; floats are restored bit for bit."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8).copy()


def unpacked(array: np.ndarray) -> dict[str, Any]:
    """The plain values that ``packed`` was given."""
    value: dict[str, Any] = json.loads(array.tobytes())
    return value


def folder() -> Path:
    """The folder of the files: ``factorisations`` in the cache folder.

    Raises:
        FileError: There is no such folder, for a user without a home.
    """
    try:
        return home() / "factorisations"
    except RuntimeError as error:
        raise FileError(f"{error}; set BLINDSPACE_HOME to a folder you may write to") from error


def usage() -> Usage:
    """The number of factorisations in the cache, and their size."""
    sizes = {path: status.st_size for path, status in _files()}
    return Usage(sum(path.suffix == ".safetensors" and path.name[0] != "." for path in sizes), sum(sizes.values()))


def clear() -> Usage:
    """Deletes every file of the cache; returns what it held."""
    held = usage()
    for path, _ in _files():
        with suppress(OSError):
            path.unlink()
    return held


def _hash_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _limit() -> int:
    given = os.environ.get("BLINDSPACE_CACHE_LIMIT", "").strip()
    if given and not given.isdecimal():
        raise ValueRangeError(f"BLINDSPACE_CACHE_LIMIT must be a number of bytes (0 turns it off), got {given!r}")
    return int(given) if given else LIMIT


def _slow() -> float:
    given = os.environ.get("BLINDSPACE_CACHE_SECONDS", "").strip()
    try:
        return float(given) if given else SLOW
    except ValueError:
        raise ValueRangeError(f"BLINDSPACE_CACHE_SECONDS must be a number of seconds, got {given!r}") from None


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    """The files of the cache, half-written ones included."""
    with suppress(OSError, FileError):
        for path in sorted(folder().glob("*.safetensors")):
            with suppress(OSError):
                yield path, path.stat()


def _path(digest: str) -> Path:
    return folder() / f"{digest}.safetensors"


def _ordered(array: np.ndarray) -> bool:
    return bool(array.flags.c_contiguous or array.flags.f_contiguous)


def _header(digest: str, arrays: Arrays) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The header of a file, without its checksum, and the arrays as they are stored in it, in C's order and real."""
    layout, parts, position = {}, [], 0
    header: dict[str, Any] = {}
    for name, array in arrays.items():
        turned = not array.flags.c_contiguous
        part = array.T if turned else array
        if np.iscomplexobj(part):
            part = part[..., None].view(part.real.dtype)
        layout[name] = [turned, np.iscomplexobj(array)]
        end = position + part.nbytes
        header[name] = {"dtype": DTYPE_NAMES[part.dtype], "shape": list(part.shape), "data_offsets": [position, end]}
        parts.append(part)
        position = end
    header["__metadata__"] = {"format": FORMAT, "blindspace": VERSION, "key": digest, "layout": json.dumps(layout)}
    return header, parts


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    step = PIECE // flat.itemsize
    return (flat[start : start + step] for start in range(0, flat.size, step))


def _finite(piece: np.ndarray) -> bool:
    return piece.dtype.kind != "f" or bool(np.isfinite(piece).all())


def _store(digest: str, arrays: Arrays, limit: int) -> None:
    """Writes a file and makes room for it; warns, once, if that cannot be done."""
    if any(array.real.dtype not in DTYPE_NAMES for array in arrays.values()):
        return
    header, parts = _header(digest, arrays)
    check = hashlib.sha256(_hash_of(header).encode())
    for part in parts:
        for piece in _pieces(part):
            if not _finite(piece):
                return
            check.update(piece.view(np.uint8).data)
    header["__metadata__"]["sha256"] = check.hexdigest()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns its data
    size = 8 + len(text) + sum(part.nbytes for part in parts)
    if size > limit or len(text) > HEADER_LIMIT:
        return
    try:
        _free(limit - size)
        with writing(_path(digest)) as temporary, open(temporary, "wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for part in parts:
                for piece in _pieces(part):
                    stream.write(piece.view(np.uint8).data)
    except FileError as error:
        if "store" not in _warned:
            _warned.add("store")
            warnings.warn(f"factorisations are not kept for the next run: {error}", BlindspaceWarning, stacklevel=4)


def _free(available: int) -> None:
    """Deletes half-written files of killed processes, then the least recently used, until the rest fits."""
    held = []
    for path, status in _files():
        if not path.name.startswith("."):
            held.append((status.st_mtime, status.st_size, path))
        elif time.time() - status.st_mtime > LEFTOVER:
            with suppress(OSError):
                path.unlink()
    total = sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= available:
            break
        with suppress(OSError):
            path.unlink()
        total -= size


def _read(digest: str) -> Arrays | None:
    """The arrays of a file; None if there is no file, or if it is damaged, which is then deleted."""
    try:
        path = _path(digest)
    except FileError:
        return None
    try:
        with open(path, "rb") as stream:
            arrays = _parsed(stream, digest)
    except FileNotFoundError:
        return None
    except Exception:  # whatever the damage, the answer is the same
        with suppress(OSError):
            path.unlink()
        return None
    with suppress(OSError):
        os.utime(path)  # used now
    return arrays


def _parsed(stream: BinaryIO, digest: str) -> Arrays:
    """The arrays of a file; raises whatever comes if it is not as it was written."""
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), "little")
    _demand(length <= min(size - 8, HEADER_LIMIT))
    header = json.loads(stream.read(length))
    about = header["__metadata__"]
    stated = about.pop("sha256")
    _demand((about["format"], about["blindspace"], about["key"]) == (FORMAT, VERSION, digest))
    layout = json.loads(about["layout"])
    check = hashlib.sha256(_hash_of(header).encode())
    arrays, position = {}, 0
    for name, (turned, paired) in layout.items():
        dtype, shape = np.dtype(DTYPES[header[name]["dtype"]]), header[name]["shape"]
        begin, position = position, position + prod(shape) * dtype.itemsize
        # The size of the file bounds that of the arrays before any is made.
        _demand(header[name]["data_offsets"] == [begin, position] and begin <= position <= size - 8 - length)
        part = np.empty(shape, dtype)
        for piece in _pieces(part):
            data = piece.view(np.uint8).data
            _demand(stream.readinto(data) == len(data) and _finite(piece))  # type: ignore[attr-defined]
            check.update(data)
        if paired:
            part = part.view(np.result_type(dtype, np.complex64))[..., 0]
        arrays[name] = part.T if turned else part
    _demand(8 + length + position == size and check.hexdigest() == stated)
    return arrays


def _demand(right: bool) -> None:
    if not right:
        raise ValueError("not as it was written")
