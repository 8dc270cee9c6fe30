"""The IDX format of MNIST and Fashion-MNIST (LeCun): four magic bytes, big-endian sizes, then plain bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from ..errors import FileError

_UNSIGNED_BYTE = 0x08
_LIMIT = 1 << 32  # bytes; a damaged header must not allocate all memory


def read_idx(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read an idx file of unsigned bytes.

    Args:
        path: The file; it is decompressed if it ends in ``.gz``.
        ndim: Number of dimensions it must have (3 for images, 1 for labels).

    Returns:
        A uint8 array with ``ndim`` dimensions.

    Raises:
        FileError: The file is missing, truncated, too long, or not such an idx file.
    """
    try:
        with cast(IO[bytes], gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")) as stream:
            return _parse(stream, path, ndim)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path} is damaged or cut short ({error}); fetch or copy it again") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(stream: IO[bytes], path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    header = stream.read(4 + 4 * ndim)
    if len(header) < 4 + 4 * ndim:
        raise FileError(f"{path} is cut short: {len(header)} bytes are no idx header; fetch or copy it again")
    expected = bytes((0, 0, _UNSIGNED_BYTE, ndim))
    if header[:4] != expected:
        raise FileError(
            f"{path} begins with {header[:4].hex()}; an idx file of unsigned bytes in {ndim} dimensions "
            f"begins with {expected.hex()}"
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    count = math.prod(shape)
    if count > _LIMIT:
        raise FileError(f"{path} claims the shape {shape}, which no known set has; fetch or copy it again")
    body = stream.read(count + 1)  # One byte more, to notice a file that is too long.
    if len(body) != count:
        found = f"only {len(body)}" if len(body) < count else "more"
        raise FileError(f"{path} should hold {count} bytes of shape {shape} and holds {found}; fetch or copy it again")
    return np.frombuffer(body, np.uint8).reshape(shape)
