"""Rounding to whole numbers with error feedback: Babai's nearest plane, kept inside a box.

Rounding one value after another, each error is made up for by the values still to come, as far as the matrix lets them
(Babai 1986; GPTQ, arXiv 2210.17323, rounds weights so). What the last values cannot make up for stays, so those come
last whose columns, with what came before taken out, are the smallest: a Cholesky factorisation that takes the smallest
pivot first (sorted QR, Wübben et al. 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64
"""Values between two products of whole matrices; within a block every step is a product with a vector."""

SORTED = 1024
"""Values up to which the order is sorted; above they stay as they lie, which for convolutions costs a tenth of the gain
and saves most of the time."""

MOVES = 100
"""Single steps up or down, at most, that an image is improved by in the end."""


@dataclass(frozen=True)
class Quadratic:
    """½ eᵀH e + bᵀe over whole-number values, H made ready for error feedback.

    Attributes:
        matrix: H, positive definite, float64 ``(n, n)``.
        order: the order in which values take part in the factorisation; rounded from its end, ``(n,)``.
        factor: R, upper triangular, H[order, order] = RᵀR.
    """

    matrix: Tensor
    order: Tensor
    factor: Tensor


def quadratic(matrix: Tensor, order: Tensor | None = None) -> Quadratic:
    """Factorise H, ``(n, n)``, positive definite, float64; in a good order if none is given."""
    n = len(matrix)
    if order is None and n <= SORTED:
        order, lower = smallest_pivot_first(matrix)
        return Quadratic(matrix, order, lower.T.contiguous())
    if order is None:
        # Values of one place beside each other: as images lie, a channel's values are far apart.
        order = torch.arange(n).reshape(3, -1).T.flatten() if n % 3 == 0 else torch.arange(n)
    return Quadratic(matrix, order, torch.linalg.cholesky(matrix[order][:, order], upper=True))


def smallest_pivot_first(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The order in which the smallest pivot always comes next, and L with H[order, order] = L Lᵀ; by blocks.

    Args:
        matrix: H, positive definite, float64 ``(n, n)``.
    """
    rest, n = matrix.clone(), len(matrix)
    lower, order, pivots = torch.zeros_like(rest), torch.arange(n), rest.diagonal().clone()
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for k in range(start, stop):
            i = k + int(pivots[k:].argmin())
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
    """Whole numbers r in [0, top] near v, with ½ eᵀH e + bᵀe for e = r − v small.

    Args:
        form: H.
        values: v, float64 ``(B, n)``.
        slope: b, float64 ``(B, n)``.
        top: the greatest whole number allowed.

    Returns:
        r, float64 ``(B, n)``.
    """
    order, factor = form.order, form.factor
    target = values[:, order]
    if bool(slope.any()):
        best = target - torch.cholesky_solve(slope[:, order].T.contiguous(), factor, upper=True).T
        # What the box does not allow cannot be made up for by others that it does not allow either.
        target = best.clamp(0, top)
    error = torch.zeros_like(target)
    for stop in range(len(order), 0, -BLOCK):
        start = max(stop - BLOCK, 0)
        fed = error[:, stop:] @ factor[start:stop, stop:].T
        for i in range(stop - 1, start - 1, -1):
            owed = fed[:, i - start] + error[:, i + 1 : stop] @ factor[i, i + 1 : stop]
            aim = target[:, i] - owed / factor[i, i]
            error[:, i] = aim.round().clamp(0, top) - target[:, i]
    whole = torch.empty_like(error)
    whole[:, order] = (error + target).round()
    return whole


def improved(matrix: Tensor, values: Tensor, slope: Tensor, whole: Tensor, top: int) -> Tensor:
    """Steps of one up or down in single values, the best first, while ½ eᵀH e + bᵀe with e = r − v falls.

    Mends what the walls of the box left: a value that hits one cannot make up for what the others did.

    Args:
        matrix: H, float64 ``(n, n)``.
        values: v, float64 ``(B, n)``.
        slope: b, float64 ``(B, n)``.
        whole: r, to begin with.
        top: the greatest whole number allowed.

    Returns:
        r, float64 ``(B, n)``.
    """
    slope = slope + (whole - values) @ matrix
    bend = matrix.diagonal() / 2
    result, left = whole.clone(), torch.arange(len(whole))
    for _ in range(MOVES):
        # A step against the slope changes the sum by bend − |slope|.
        gain = slope.abs() - bend
        gain[torch.where(slope > 0, whole <= 0, whole >= top)] = -torch.inf
        best, place = gain.max(1)
        # Better by more than rounding, or two steps could undo each other for ever.
        going = best > 1e-9 * bend[place]
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
