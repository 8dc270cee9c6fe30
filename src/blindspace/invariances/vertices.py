"""The vertices of a path: many images, which lie in a temporary file without a name and are mapped into memory.

A path through images of 224 × 224 pixels has thousands of vertices of more than a megabyte each.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from tempfile import TemporaryFile, gettempdir

import numpy as np
import torch
from torch import Tensor

from ..errors import TooLargeError

AT_ONCE = 128 << 20
"""Bytes of vertices that are read at once."""


class Vertices:
    """Images that are added one after the other, float64 and flat.

    Args:
        size: Number n of values of an image.
    """

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self._file = TemporaryFile()  # noqa: SIM115, it lives as long as the path

    def add(self, rows: Tensor) -> None:
        """Add images ``(k, n)``.

        Raises:
            TooLargeError: The disk is full.
        """
        try:
            self._file.write(rows.cpu().numpy().tobytes())
            self._file.flush()
        except OSError as error:
            free = shutil.disk_usage(gettempdir()).free
            raise TooLargeError(
                f"a path of more than {self.count} vertices does not fit in {gettempdir()}, where {free / 2**30:.1f} "
                "GiB are free; take a larger tolerance, or set TMPDIR to a folder with more room"
            ) from error
        self.count += len(rows)

    def tensor(self) -> Tensor:
        """All of them, ``(V, n)``; changes are private to the process."""
        mapped = np.memmap(self._file, np.float64, "c", shape=(self.count, self.size))
        return torch.from_numpy(mapped)


def chunks(images: Tensor, overlap: int = 0) -> Iterator[Tensor]:
    """Images ``(V, …)`` in parts that fit in memory, each with the first ``overlap`` images of the next one."""
    size = max(AT_ONCE // (images[:1].nbytes or 1), 1)
    for start in range(0, max(len(images) - overlap, 1), size):
        yield images[start : start + size + overlap]
