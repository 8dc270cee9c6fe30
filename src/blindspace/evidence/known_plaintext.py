"""What someone can learn from pairs of original and protected images, without a single weight of the network.

Whoever can have images of their own protected has such pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS = ((1, 2), (2, 3), (2, 6), (4, 4), (8, 0), (16, 0))
"""Sides of the squares that are restored at a time, and how many pixels around them are looked at: guesses at strides
of kernels, and at patches."""

RIDGE = 1e-4
"""Share of the mean square of what is looked at that keeps the fit from following chance."""

AT_ONCE = 64 << 20
"""Bytes of windows looked at at a time."""


def fits(shape: tuple[int, ...], square: int, margin: int) -> bool:
    """Whether images ``(C, H, W)`` can be cut so."""
    return all(side % square == 0 and side > margin for side in shape[1:])


def learned(x: Tensor, hidden: Tensor, others: Tensor, square: int, margin: int) -> Tensor:
    """The linear filter that restores the pairs best, by ridge regression, put to other images.

    It differs from place to place with the period ``square``, as what a network cannot see does with its stride.

    Args:
        x: originals of the pairs, ``(K, C, H, W)``, K ≥ 1, float64.
        hidden: the same protected.
        others: protected images of unknown originals, ``(B, C, H, W)``.
        square: side of the squares restored at a time; divides H and W.
        margin: of pixels looked at around them, less than H and W.

    Returns:
        ``(B, C, H, W)``, in any range.
    """
    features = x.shape[1] * (square + 2 * margin) ** 2 + 1
    gram = torch.zeros(features, features, dtype=torch.float64)
    right = torch.zeros(features, x.shape[1] * square**2, dtype=torch.float64)
    for seen, wanted in zip(hidden, x, strict=True):
        for z, y in zip(_windows(seen, square, margin), _windows(wanted, square, 0, margin), strict=True):
            gram += z.T @ z
            right += z.T @ y[:, :-1]
    gram += RIDGE * gram.diagonal().mean() * torch.eye(features, dtype=torch.float64)
    weights = torch.linalg.solve(gram, right)
    size = (others.shape[2], others.shape[3])
    found = [torch.cat([z @ weights for z in _windows(image, square, margin)]).T for image in others]
    return F.fold(torch.stack(found), size, square, stride=square)


def _windows(image: Tensor, square: int, margin: int, as_for: int | None = None) -> Iterator[Tensor]:
    """Each square with what surrounds it, and a one, in a row; some lines of squares at a time.

    Args:
        image: ``(C, H, W)``.
        square: side of the squares.
        margin: around them.
        as_for: the margin whose memory says how many at a time; ``margin`` if None.
    """
    channels, height, width = image.shape
    side = square + 2 * margin
    largest = square + 2 * (margin if as_for is None else as_for)
    lines = max(AT_ONCE // (8 * channels * largest**2 * (width // square)), 1) * square
    wide = F.pad(image[None], [margin] * 4, mode="reflect")
    for top in range(0, height, lines):
        rows = F.unfold(wide[:, :, top : top + lines + 2 * margin], side, stride=square)[0].T
        yield torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
