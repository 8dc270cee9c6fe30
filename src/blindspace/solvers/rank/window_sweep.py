"""Proof that a convolution determines every value that it reads, window of outputs by window of outputs.

Windows of outputs are taken in the order of the image: line by line of windows, and along each line. The values that a
window reads were determined by windows before it, or are new. If the columns of the new ones are independent in the
window's outputs, those outputs determine them; if that holds in every window, the columns of all values read are
independent. The matrix of the convolution is then block-triangular with full column rank in every diagonal block.

The kernel being the same everywhere, few of these blocks differ: those of the first window of each axis, which knows no
value yet, and those of windows behind it. They have a few hundred columns whatever the size of the image, and are
eliminated modulo a prime, which rounds nothing: full rank modulo a prime is a proof for the weights as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import TooLargeError
from ...maps import Convolution
from .modular_elimination import exact_rank

LARGEST = 20  # Outputs per axis of the largest window tried
COLUMNS = 6000  # Columns of the largest block that is eliminated
WORK_LIMIT = 6e10  # Floating-point operations that one elimination may take
TRIES = 3  # Sizes of windows that are eliminated at most; where the first is not of full rank, others seldom are


class Block(NamedTuple):
    """Outputs of a window along one axis, and the places it reads that are new, counted from the first tap."""

    outputs: int
    new: tuple[int, ...]


def determines(conv: Convolution, columns: int = COLUMNS, work: float = WORK_LIMIT) -> tuple[int, ...] | None:
    """The number of outputs along each axis of the largest window of a sweep that determines every value read.

    Args:
        conv: A convolution of one group, with zeros outside the image.
        columns: Columns of the largest block that is eliminated.
        work: Floating-point operations that one elimination may take.

    Returns:
        None if no sweep with windows of the sizes tried shows it.
    """
    tries = 0
    for first in range(1, LARGEST + 1):
        for behind in range(1, first + 1):
            axes = [_blocks(conv, axis, first, behind) for axis in range(len(conv.kernel))]
            windows = list(product(*axes))
            if not all(_fits(conv, window, columns) for window in windows):
                continue
            try:
                if all(_independent(conv, window, work) for window in sorted(windows, key=_size)):
                    return tuple(max(block.outputs for block in blocks) for blocks in axes)
            except TooLargeError:
                return None
            tries += 1
            if tries == TRIES:
                return None
    return None


def _blocks(conv: Convolution, axis: int, first: int, behind: int) -> list[Block]:
    """The different blocks along one axis, swept from the end at which fewer values are new to the first window.

    Args:
        conv: The convolution.
        axis: The axis.
        first: Outputs of the first window.
        behind: Outputs of each window behind it.
    """
    forwards, backwards = (list(_sweep(conv, axis, first, behind, back)) for back in (False, True))
    blocks = forwards if len(forwards[0].new) <= len(backwards[0].new) else backwards
    # Columns of a block with the same outputs and more new values include those of this one.
    different = dict.fromkeys(blocks)
    return [a for a in different if not any(a.outputs == b.outputs and set(a.new) < set(b.new) for b in different)]


def _sweep(conv: Convolution, axis: int, first: int, behind: int, back: bool) -> Iterator[Block]:
    reads, stride = conv.reads[axis], conv.stride[axis]
    start, step = -conv.padding[axis][0], stride
    if back:
        reads, start = reads.flip(0), start + stride * (len(reads) - 1)
        step = -stride
    known: set[int] = {-1}
    at = 0
    while at < len(reads):
        size = min(behind if at else first, len(reads))
        at = min(at, len(reads) - size)  # the last window begins further ahead, where more is known
        read = reads[at : at + size].flatten().tolist()
        corner = start + step * (at + (size - 1) * back)  # of the window in the image, at its lowest output
        yield Block(size, tuple(sorted(place - corner for place in set(read) - known)))
        known.update(read)
        at += size


def _fits(conv: Convolution, window: tuple[Block, ...], columns: int) -> bool:
    rows = len(conv.weight) * prod(block.outputs for block in window)
    return _size(window) * conv.in_shape[0] <= min(rows, columns)


def _size(window: tuple[Block, ...]) -> int:
    return prod(len(block.new) for block in window)


def _independent(conv: Convolution, window: tuple[Block, ...], work: float) -> bool:
    """Whether the columns of the new values are independent in the outputs of a window."""
    shape = [
        s * (block.outputs - 1) + d * (k - 1) + 1
        for block, s, d, k in zip(window, conv.stride, conv.dilation, conv.kernel, strict=True)
    ]
    local = Convolution(conv.weight, (conv.in_shape[0], *shape), conv.stride, [(0, 0)] * len(shape), conv.dilation)
    places: Tensor = torch.arange(local.in_dim).reshape(local.in_shape)
    for axis, block in enumerate(window):
        places = places.index_select(axis + 1, torch.tensor(block.new, dtype=torch.int64))
    columns = local.to_scipy()[:, places.flatten().numpy()]
    return not columns.shape[1] or exact_rank(columns, work=work).rank == columns.shape[1]
