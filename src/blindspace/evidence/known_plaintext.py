"""Known-plaintext attack: what pairs of original and protected images teach, without any weight of the network.

Anybody who can have images of their own protected has such pairs. The attack is a linear filter fitted by ridge
regression (Hoerl and Kennard 1970).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS = ((1, 2), (2, 3), (2, 6), (4, 4), (8, 0), (16, 0))
"""Sides of the squares that are restored at a time, and margins of pixels around them that the filter reads: guesses at
the strides of kernels and at patch sizes."""

RIDGE = 1e-4
"""Ridge penalty, relative to the mean square of the regressors."""

CHUNK_BYTES = 64 << 20
"""Bytes of windows processed at a time."""


def fits(shape: tuple[int, ...], square: int, margin: int) -> bool:
    """Whether images ``(C, H, W)`` can be cut into such squares and margins."""
    return all(side % square == 0 and side > margin for side in shape[1:])


def restored(
    x: Tensor, hidden: Tensor, others: Tensor, square: int, margin: int, *, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """Apply to other images the linear filter that restores the known pairs best, by ridge regression.

    The filter varies with the position in the square, with the period ``square``, as the nullspace of a convolution
    does with its stride.

    Args:
        x: originals of the pairs, ``(K, C, H, W)``, K ≥ 1, float64.
        hidden: the protected images of the pairs.
        others: protected images with unknown originals, ``(B, C, H, W)``.
        square: side of the squares restored at a time; divides H and W.
        margin: width of the margin around them that the filter reads, less than H and W.
        chunk_bytes: bytes of windows processed at a time.

    Returns:
        The restored images, ``(B, C, H, W)``, in any range.
    """
    features = x.shape[1] * (square + 2 * margin) ** 2 + 1
    gram = torch.zeros(features, features, dtype=torch.float64)
    right = torch.zeros(features, x.shape[1] * square**2, dtype=torch.float64)
    for seen, wanted in zip(hidden, x, strict=True):
        inputs = _windows(seen, square, margin, margin, chunk_bytes)
        targets = _windows(wanted, square, 0, margin, chunk_bytes)
        for z, y in zip(inputs, targets, strict=True):
            gram += z.T @ z
            right += z.T @ y[:, :-1]
    gram += RIDGE * gram.diagonal().mean() * torch.eye(features, dtype=torch.float64)
    weights = torch.linalg.solve(gram, right)
    size = (others.shape[2], others.shape[3])
    found = [
        torch.cat([z @ weights for z in _windows(image, square, margin, margin, chunk_bytes)]).T for image in others
    ]
    return F.fold(torch.stack(found), size, square, stride=square)


def _windows(image: Tensor, square: int, margin: int, widest: int, chunk_bytes: int) -> Iterator[Tensor]:
    """One row per square: its pixels, those of its margin and a constant 1; some lines of squares at a time.

    Args:
        image: ``(C, H, W)``.
        square: side of the squares.
        margin: width of the margin around them.
        widest: the margin whose memory determines how many lines there are at a time.
        chunk_bytes: that memory.
    """
    channels, height, width = image.shape
    side = square + 2 * margin
    largest = square + 2 * widest
    lines = max(chunk_bytes // (8 * channels * largest**2 * (width // square)), 1) * square
    wide = F.pad(image[None], [margin] * 4, mode="reflect")
    for top in range(0, height, lines):
        rows = F.unfold(wide[:, :, top : top + lines + 2 * margin], side, stride=square)[0].T
        yield torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
