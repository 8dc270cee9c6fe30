"""Proof that a convolution, or its adjoint, determines every value that it reads, window of outputs by window.

Windows of outputs are taken in the order of the image: line by line of windows, and along each line. The values that a
window reads were determined by windows before it, or are new. If the columns of the new ones are independent in the
window's outputs, those outputs determine them; if that holds in every window, the columns of all values read are
independent. The matrix of the convolution is then block-triangular with full column rank in every diagonal block.

The kernel being the same everywhere, few of these blocks differ: those of the first window of each axis, which knows no
value yet, and those of windows behind it. They have a few hundred columns whatever the size of the image, and are
eliminated modulo a prime, which rounds nothing: full rank modulo a prime is a proof for the weights as they are stored.

Of the adjoint, the outputs are the pixels of an image and the values read are the convolution's outputs: it determines
them exactly if the rows of the convolution are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ...errors import TooLargeError
from ...maps import LinearMap
from .modular_elimination import exact_rank
from .windows import Axis, Windowed, windowed

LARGEST = 20  # Outputs per axis of the largest window tried
COLUMNS = 6000  # Columns of the largest block that is eliminated
WORK_LIMIT = 6e10  # Floating-point operations that one elimination may take
TRIES = 3  # Sizes of windows that are eliminated at most; where the first is not of full rank, others seldom are


def determines(operator: LinearMap, columns: int = COLUMNS, work: float = WORK_LIMIT) -> tuple[int, ...] | None:
    """The number of outputs along each axis of the largest window of a sweep that determines every value read.

    Args:
        operator: A convolution of one group, with zeros outside the image, or the adjoint of one.
        columns: Columns of the largest block that is eliminated.
        work: Floating-point operations that one elimination may take.

    Returns:
        None if no sweep with windows of the sizes tried shows it.
    """
    seen = windowed(operator)
    kinds = [next(i for i, other in enumerate(seen.axes) if axis.is_like(other)) for axis in seen.axes]
    tries = 0
    for first in range(1, LARGEST + 1):
        for behind in range(1, first + 1):
            blocks = {kind: _blocks(seen.axes[kind], first, behind) for kind in set(kinds)}
            axes = [blocks[kind] for kind in kinds]
            windows = list(product(*axes))
            sizes = [seen.size(window) for window in windows]
            if any(wide > min(high, columns) for high, wide in sizes):
                continue
            try:
                if all(_independent(seen, window, work) for window in sorted(windows, key=lambda w: seen.size(w)[1])):
                    return tuple(max(len(table) for table in tables) for tables in axes)
            except TooLargeError:
                return None
            tries += 1
            if tries == TRIES:
                return None
    return None


def _blocks(axis: Axis, first: int, behind: int) -> list[np.ndarray]:
    """The different tables along one axis, swept from the end at which fewer values are new to the first window.

    Args:
        axis: The axis.
        first: Outputs of the first window.
        behind: Outputs of each window behind it.
    """
    forwards, backwards = (list(_sweep(axis, first, behind, back)) for back in (False, True))
    different = forwards if forwards[0].shape[1] <= backwards[0].shape[1] else backwards
    # Columns of a table with the same outputs and more new values include those of this one.
    news = [(len(table), set(map(tuple, table.T.tolist()))) for table in different]
    return [
        table
        for table, (size, new) in zip(different, news, strict=True)
        if not any(size == high and new < more for high, more in news)
    ]


def _sweep(axis: Axis, first: int, behind: int, back: bool) -> Iterator[np.ndarray]:
    """The different tables of the windows' outputs and of the values new to them; the first window's comes first."""
    known = np.zeros(axis.columns, dtype=bool)
    seen: set[tuple[bytes, ...]] = set()
    at = 0
    while at < axis.rows:
        size = min(behind if at else first, axis.rows)
        at = min(at, axis.rows - size)  # the last window begins further ahead, where more is known
        start = axis.rows - at - size if back else at
        pattern = axis.pattern(start, start + size, known)
        read = axis.column[axis.first[start] : axis.first[start + size]]
        if pattern not in seen:
            seen.add(pattern)
            yield axis.table(start, start + size, np.unique(read[~known[read]]))
        known[read] = True
        at += size


def _independent(seen: Windowed, window: tuple[np.ndarray, ...], work: float) -> bool:
    """Whether the columns of the new values are independent in the outputs of a window."""
    columns = seen.size(window)[1]
    return not columns or exact_rank(seen.matrix(window).numpy(), work=work).rank == columns
