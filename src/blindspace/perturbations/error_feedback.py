"""Rounding to whole numbers with error feedback: Babai's nearest plane (Babai 1986), kept inside a box.

Values are rounded one after another, and each error is compensated by the values still to come, as far as the matrix
allows (GPTQ, arXiv 2210.17323, rounds weights in this way). What the last values cannot compensate for remains, so the
last ones are those whose columns, orthogonalised against the earlier ones, are the smallest: a Cholesky factorisation
that takes the smallest pivot first (sorted QR, Wübben et al. 2001).

Ties are common, as alike columns have alike pivots, and must not be decided by rounding errors: of values equal to
within ``TIE`` the first is taken, and a value within ``TIE`` of the middle between two levels is rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
"""Number of values between two matrix products; within a block every step is a product with a vector."""

SORTED = 1024
"""Number of values up to which the order is sorted; above, they stay as they are stored, which for convolutions costs a
tenth of the gain and saves most of the time."""

MOVES = 100
"""Largest number of single steps up or down by which an image is improved in the end."""

TIE = 1e-9
"""Relative difference below which two values count as equal."""


@dataclass(frozen=True)
class Quadratic:
    """The quadratic form ½ eᵀH e + bᵀe over whole-number values, with H factorised for error feedback.

    Attributes:
        matrix: H, positive definite, float64 ``(n, n)``.
        order: Order of the values in the factorisation, ``(n,)``; they are rounded from its end.
        factor: R, upper triangular, H[order, order] = RᵀR.
        shift: λ ≥ 0 for which H − λ I is positive semidefinite.
    """

    matrix: Tensor
    order: Tensor
    factor: Tensor
    shift: float = 0.0


def quadratic(matrix: Tensor, order: Tensor | None = None, sort_up_to: int = SORTED, shift: float = 0.0) -> Quadratic:
    """Factorise H, ``(n, n)``, positive definite, float64.

    Args:
        matrix: H less ``shift`` times the identity.
        order: Order of the values; if None the smallest pivot first.
        sort_up_to: Number of values up to which the order is sorted.
        shift: λ ≥ 0.
    """
    matrix = matrix.clone()
    matrix.diagonal().add_(shift)
    n = len(matrix)
    if order is None and n <= sort_up_to:
        order, lower = smallest_pivot_first(matrix)
        return Quadratic(matrix, order, lower.T.contiguous(), shift)
    if order is None:
        # The values of one pixel beside each other: an image stores its channels far apart.
        order = torch.arange(n).reshape(3, -1).T.flatten() if n % 3 == 0 else torch.arange(n)
    return Quadratic(
        matrix,
        order,
        torch.linalg.cholesky(torch.from_numpy(matrix[order].numpy().take(order.numpy(), axis=1)), upper=True),
        shift,
    )


def smallest_pivot_first(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The order in which the smallest pivot always comes next, and L with H[order, order] = L Lᵀ, by blocks.

    Args:
        matrix: H, positive definite, float64 ``(n, n)``.
    """
    rest, n = matrix.clone(), len(matrix)
    lower, order, pivots = torch.zeros_like(rest), torch.arange(n), rest.diagonal().clone()
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for k in range(start, stop):
            i = k + _first(pivots[k:] <= pivots[k:].min() * (1 + TIE))
            if i != k:
                pair, swapped = [k, i], [i, k]
                rest[pair], lower[pair] = rest[swapped], lower[swapped]
                rest[:, pair] = rest[:, swapped]
                order[pair], pivots[pair] = order[swapped], pivots[swapped]
            column = rest[k:, k] - lower[k:, start:k] @ lower[k, start:k]
            lower[k:, k] = column / column[0].sqrt()
            pivots[k + 1 :] -= lower[k + 1 :, k].square()
        done = lower[stop:, start:stop]
        rest[stop:, stop:] -= done @ done.T
        pivots[stop:] = rest.diagonal()[stop:]
    return order, lower


def rounded(form: Quadratic, values: Tensor, slope: Tensor, top: int) -> Tensor:
    """Whole numbers r in [0, top] near v for which ½ eᵀH e + bᵀe with e = r − v is small.

    Args:
        form: The factorised H.
        values: v, float64 ``(B, n)``.
        slope: b, float64 ``(B, n)``.
        top: The largest whole number allowed.

    Returns:
        r, float64 ``(B, n)``.
    """
    order, factor = form.order, form.factor.numpy()
    # One row per value: the thousands of steps read and write memory in one piece, as numpy, which calls sooner.
    wanted = values.T[order]
    moved = slope.any(1)
    if bool(moved.any()):
        best = wanted[:, moved] - torch.cholesky_solve(slope[moved][:, order].T.contiguous(), form.factor, upper=True)
        # What the box does not allow cannot be compensated by other values that it does not allow either.
        wanted[:, moved] = best.clamp(0, top)
    target = wanted.numpy()
    error = np.zeros_like(target)
    for stop in range(len(order), 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        here, given = error[start:stop], target[start:stop]
        rows = factor[start:stop] / factor.diagonal()[start:stop, None]
        aim = given - rows[:, stop:] @ error[stop:]
        for i in range(stop - start - 1, -1, -1):
            aim[i] -= rows[i, start + i + 1 : stop] @ here[i + 1 :]
            np.subtract(np.floor(aim[i] + (0.5 + TIE)).clip(0, top), given[i], out=here[i])
    whole = torch.empty_like(values)
    whole[:, order] = torch.from_numpy(error + target).round().T
    return whole


def improved(matrix: Tensor, values: Tensor, slope: Tensor, whole: Tensor, top: int) -> Tensor:
    """Greedy coordinate descent: steps of one up or down in single values while ½ eᵀH e + bᵀe with e = r − v falls.

    It corrects what the limits of the box left: a value at a limit cannot compensate for the errors of others.

    Args:
        matrix: H, float64 ``(n, n)``.
        values: v, float64 ``(B, n)``.
        slope: b, float64 ``(B, n)``.
        whole: r to begin with, float64 ``(B, n)``.
        top: The largest whole number allowed.

    Returns:
        r, float64 ``(B, n)``.
    """
    moved = whole - values
    slope = slope + moved @ matrix if bool(moved.any()) else slope.clone()
    bend = matrix.diagonal() / 2
    result, left = whole.clone(), torch.arange(len(whole))
    for _ in range(MOVES):
        # A step against the slope changes the sum by bend − |slope|.
        gain = slope.abs() - bend
        gain[torch.where(slope > 0, whole <= 0, whole >= top)] = -torch.inf
        best = gain.amax(1)
        place = (gain >= best[:, None] - TIE * bend.max()).byte().argmax(1)
        # Better by more than rounding, or two steps could undo each other for ever.
        going = best > TIE * bend[place]
        if not bool(going.all()):
            result[left[~going]] = whole[~going]
            whole, slope, left, place = whole[going], slope[going], left[going], place[going]
        if not len(left):
            break
        images = torch.arange(len(left))
        step = -slope[images, place].sign()
        whole[images, place] += step
        slope += step[:, None] * matrix[place]
    result[left] = whole
    return result


def nearest_whole(v: Tensor) -> Tensor:
    """The nearest whole numbers, the upper one for the middle between two even if rounding put it a little lower."""
    return (v + 0.5 + TIE).floor()


def _first(chosen: Tensor) -> int:
    """Index of the first True."""
    return int(chosen.nonzero()[0])
