"""Stored pictures, decoded as many at a time as memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..data.picture_files import Decoded, decoded
from ..errors import FileError, MissingExtraError
from .source import Picture

Pixels = npt.NDArray[np.float64]
"""One picture, ``(C, H, W)`` in [0, 1]."""

BATCH_BYTES = 16 << 20
"""Bytes of float64 pixels that are processed together; a single larger picture is processed alone."""


def windows(
    pictures: Sequence[Picture], batch_bytes: int = BATCH_BYTES
) -> Iterator[tuple[dict[int, Decoded], dict[int, str]]]:
    """Decoded pictures by their numbers, and the reasons why the others among them cannot be read.

    Args:
        pictures: The pictures, which are divided by their order and sizes alone.
        batch_bytes: Bytes of float64 pixels that are held at once.
    """
    read: dict[int, Decoded] = {}
    unreadable: dict[int, str] = {}
    size = 0
    for number, picture in enumerate(pictures):
        try:
            found = _decoded(picture)
        except (FileError, MissingExtraError) as error:
            unreadable[number] = str(error).removeprefix(f"{picture.name} ")
            continue
        if read and size + found.pixels.nbytes > batch_bytes:
            yield read, unreadable
            read, unreadable, size = {}, {}, 0
        read[number] = found
        size += found.pixels.nbytes
    yield read, unreadable


def _decoded(picture: Picture) -> Decoded:
    """A picture's pixels, and what is dropped.

    Raises:
        FileError: The picture cannot be read.
        MissingExtraError: Its format needs a library that is not installed.
    """
    if picture.content is None:
        raise FileError(picture.reason)
    return decoded(picture.content, picture.name)
