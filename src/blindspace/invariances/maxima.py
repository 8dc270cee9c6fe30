"""The harmless set of a maximum over windows: what may change while maxima stay maxima.

The output of max pooling stays the same if in each window one unit keeps the value of the maximum and all others stay
at or below it. For a fixed choice of these units, that is an interval for each unit, whether or not windows overlap: a
unit may rise up to the least maximum of the windows that it is in. Where several units share a maximum the level set is
the union of such sets, one for each choice; units that serve many windows are chosen, so that few are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import torch
from torch import Tensor

from .activation_sets import INF, Intervals, up_to


def pooling_windows(
    n: Sequence[int], out: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:  # fmt: skip
    """The windows of max pooling, as ``windows`` returns them; one number per axis in each argument."""
    axes = zip(n, out, kernel, stride, padding, dilation, strict=True)
    return windows(
        n, [[[o * s - p + d * k for k in range(size)] for o in range(count)] for _, count, size, s, p, d in axes]
    )


def adaptive_windows(n: Sequence[int], out: Sequence[int]) -> Tensor:
    """The windows of adaptive max pooling, as ``windows`` returns them."""
    return windows(
        n,
        [
            [list(range(floor(o * size / count), ceil((o + 1) * size / count))) for o in range(count)]
            for size, count in zip(n, out, strict=True)
        ],
    )


def windows(n: Sequence[int], places: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """The units of each window as indices into the flattened axes, int64 ``(W, K)``; −1 stands for none.

    Args:
        n: Size of each axis.
        places: For each axis the places of each window along it; those outside of the axis are padding.
    """
    table = torch.zeros(1, 1, dtype=torch.int64)
    for size, along in zip(n, places, strict=True):
        longest = max(map(len, along), default=0)
        axis = torch.tensor([[*each, *[-1] * (longest - len(each))] for each in along], dtype=torch.int64)
        axis = torch.where((axis >= 0) & (axis < size), axis, -1).reshape(len(along), longest)
        before, here = table[:, None, :, None], axis[None, :, None, :]
        joined = torch.where((before < 0) | (here < 0), -1, before * size + here)
        table = joined.flatten(2).flatten(0, 1)
    return table


def of_maxima(z: Tensor, kind: str, table: Tensor, rows: Tensor) -> Intervals:
    """The set of the maxima over windows.

    Args:
        z: The values that the operation reads.
        kind: Name of the operation.
        table: The units of each window, int64 ``(W, K)``, −1 for none.
        rows: The values as rows ``(R, N)`` that share the windows.

    Returns:
        The set with bounds in the shape of ``rows``; ``reshaped`` brings it into that of z.
    """
    inside = table >= 0
    index = table.clamp(min=0)
    taken = torch.where(inside, rows[:, index], -INF)
    maxima = taken.amax(-1)
    spread = maxima[..., None].expand_as(taken)[:, inside]
    least = torch.full_like(rows, INF).scatter_reduce(1, index[inside].expand(len(rows), -1), spread, "amin")
    held = _held((taken == maxima[..., None]) & inside, index, rows.shape)
    high = torch.where(held, 0.0, up_to(rows, least))
    reason = "units below the maxima of their windows, each up to the least of these; the maxima are held"
    return Intervals(z, kind, reason, torch.where(held, 0.0, -INF), torch.where(least == INF, INF, high))


def _held(candidates: Tensor, index: Tensor, shape: torch.Size) -> Tensor:
    """Units that hold the maximum of every window, as few as a greedy choice finds, bool ``(R, N)``.

    Parallel greedy covering: in each round those units are chosen that serve more open windows than any other unit of
    these windows; a fixed random order decides between equals.

    Args:
        candidates: Whether a place of a window has its maximum, bool ``(R, W, K)``.
        index: The unit at each place, ``(W, K)``.
        shape: ``(R, N)``.
    """
    count = shape[1]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held = torch.zeros(shape, dtype=torch.bool)
    left = candidates
    while bool(left.any()):
        serves = _units(left, index, shape)
        rank = torch.where(left, (serves * count + order)[:, index], -1)
        wins = _units(left & (rank == rank.amax(-1, keepdim=True)), index, shape)
        held |= (serves > 0) & (wins == serves)
        left = left & ~(held[:, index] & candidates).any(-1, keepdim=True)
    return held


def _units(places: Tensor, index: Tensor, shape: torch.Size) -> Tensor:
    """In how many windows each unit is at a marked place, int64 ``(R, N)``."""
    flat = index.flatten().expand(shape[0], -1)
    return torch.zeros(shape, dtype=torch.int64).scatter_add(1, flat, places.flatten(1).long())
