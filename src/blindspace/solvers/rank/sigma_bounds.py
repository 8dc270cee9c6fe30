"""Bounds on the smallest singular value of a convolution by small windows, whatever the size of its image.

From above: perturbations of a patch are perturbations of the whole image, so the smallest σ of a patch's columns is a
bound, if these are independent.

From below: split the outputs into windows W, each output in one of them. With the diagonal matrix D_W of the shares
‖A_W eₚ‖² / ‖A eₚ‖² that a window has in the columns of the values p it reads, and the smallest eigenvalue λ_W of
D_W^−½ A_WᵀA_W D_W^−½ on these values,

    AᵀA = Σ_W A_WᵀA_W ≽ Σ_W λ_W D_W ≽ min_W λ_W · I    on the values read, as Σ_W D_W = I,

hence σ_min² ≥ min_W λ_W. Counting how many windows cover a value instead of how much of its column lies in them gives
the same with a worse constant. The kernel being the same everywhere, only windows at the borders differ from one amid
the image, and their number does not depend on its size. The bound is positive as soon as every window determines all
values it reads, and rises with the windows. Rounding in the eigenvalues is bounded and subtracted.
"""

from __future__ import annotations

from itertools import product
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch

from ...maps import LinearMap
from .windows import Axis, Windowed, windowed

PATCH = 256  # Inputs of the patch whose smallest singular value bounds that of the whole map from above
SIDES = (1, 2, 3, 4, 6, 8)  # Outputs per axis of the windows that bound it from below
COLUMNS = 700  # Columns of the largest such window
LEAST = 1e-100  # Norm of a column below which squares might underflow


class Span(NamedTuple):
    """A window along one axis.

    Attributes:
        table: The taps between its outputs and the values they read.
        readers: How many outputs of the whole axis read each of these values by each tap, int64 ``(values, taps)``.
    """

    table: np.ndarray
    readers: np.ndarray


def at_least(operator: LinearMap, enough: float, columns: int = COLUMNS) -> float:
    """A lower bound on the smallest singular value of a map on the values that it reads; 0 if none is found.

    Args:
        operator: A convolution of one group, with zeros outside the image, or the adjoint of one.
        enough: Bound at which no larger windows are tried.
        columns: Columns of the largest window tried.
    """
    seen = windowed(operator)
    best = lowest = 0.0
    tried: list[tuple[Span, ...]] = []
    for side in SIDES:
        windows = list(product(*(_spans(axis, side) for axis in seen.axes)))
        sizes = {index: seen.size(tuple(span.table for span in window)) for index, window in enumerate(windows)}
        if any(wide > high for high, wide in sizes.values()):
            continue
        if max(wide for _, wide in sizes.values()) > columns:
            break
        # The window amid the image, which reads most, shows whether this side may be enough.
        tried = [windows[index] for index in sorted(sizes, key=lambda index: -sizes[index][1])]
        lowest = _least_on_window(seen, tried[0])
        if lowest >= enough:
            best = _least(seen, tried, lowest)
            tried = []
            if best >= enough:
                break
    return max(best, _least(seen, tried, lowest)) if tried else best


def _least(seen: Windowed, windows: list[tuple[Span, ...]], first: float) -> float:
    """The least bound of several windows, of which that of the first is known; 0 if none of them reads anything."""
    least = min([first, *(_least_on_window(seen, window) for window in windows[1:])]) if first else 0.0
    return least if least < float("inf") else 0.0


def _spans(axis: Axis, side: int) -> list[Span]:
    """The different windows along one axis, which split its outputs as evenly as windows of a side can."""
    found: dict[tuple[bytes, ...], Span] = {}
    counts = axis.counts(np.arange(axis.columns))
    ends = np.cumsum([0, *map(len, np.array_split(np.arange(axis.rows), max(axis.rows // side, 1)))])
    for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        pattern = axis.pattern(start, stop, counts)
        if pattern not in found:
            read = axis.met(start, stop)
            found[pattern] = Span(axis.table(start, stop, read), counts[read])
    return list(found.values())


def _least_on_window(seen: Windowed, window: tuple[Span, ...]) -> float:
    """A lower bound on √λ_W; infinite if the window reads nothing."""
    matrix = seen.matrix(tuple(span.table for span in window))
    whole = seen.kernel.square().sum(0)  # ‖A eₚ‖² of each value, as its taps along every axis are
    for span in window:
        # The axes of taps give way to those of values, one by one.
        whole = torch.tensordot(whole, torch.from_numpy(span.readers).double(), ([1], [1]))
    read = matrix.any(0)
    if not bool(read.any()):
        return float("inf")
    matrix, norms = matrix[:, read], whole.flatten()[read].sqrt()
    here = matrix.norm(dim=0)
    if float(here.min()) < LEAST:
        return 0.0
    scaled = matrix * (norms / here)
    gram = scaled.T @ scaled
    rounding = (len(matrix) + 10 * len(gram)) * torch.finfo(torch.float64).eps * float(gram.trace())
    return sqrt(max(float(torch.linalg.eigvalsh(gram)[0]) - rounding, 0.0))


def at_most(operator: LinearMap) -> float:
    """An upper bound: the smallest singular value among perturbations of a patch in any corner or amid the image.

    The values of a patch that no output reads are left out, as they count as free.

    Args:
        operator: A convolution of one group, with zeros outside the image, or the adjoint of one, that determines every
            value it reads.
    """
    seen = windowed(operator)
    axes = len(seen.axes)
    side = max(int((PATCH / seen.kernel.shape[1]) ** (1 / axes)), 1)
    return min(_smallest_on_patch(seen, side, at) for at in (*product((0.0, 1.0), repeat=axes), (0.5,) * axes))


def _smallest_on_patch(seen: Windowed, side: int, at: tuple[float, ...]) -> float:
    """The same on a patch of a side, at a share of the way through the values read along each axis."""
    tables = []
    for axis, share in zip(seen.axes, at, strict=True):
        read = np.unique(axis.column)
        size = min(side, len(read))
        start = int(share * (len(read) - size))
        patch = read[start : start + size]
        tables.append(axis.table(*axis.meeting(int(patch[0]), int(patch[-1]) + 1), patch))
    matrix = seen.matrix(tuple(tables))
    return float(torch.linalg.svdvals(matrix[:, matrix.any(0)])[-1])
