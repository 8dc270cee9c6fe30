"""Which resize an image was made for: the one in whose row space the most of its fine detail lies.

The change that hides a picture with the least norm lies in the row space of the resize. Relative to the energy around
it, the image's high-pass residual is compared with white noise, whose share in a subspace is that of the dimensions:
the likelihood ratio of a matched subspace detector (Scharf and Friedlander, Matched subspace detectors, 1994), with
both variances estimated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.ndimage import uniform_filter

from ...maps.resizing import RESIZERS
from .disagreement import Axes, Disagreement, Size, different
from .sampling_grid import FLOOR, NEIGHBOURHOOD

CLOSE = 0.5
"""Share of the largest score from which a resize is considered."""

RANK = 1e-6
"""Diagonal entry of the triangular factor below which a row depends on those before it."""


def made_for(image: npt.NDArray[np.floating], found: Sequence[Disagreement]) -> Disagreement:
    """The resize that an image was made for, among those whose scores are high.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        found: Scores of resizes of it, at least one.
    """
    best = max(each.score for each in found)
    close = [each for each in found if each.score >= CLOSE * best]
    detail, before = _detail(image), (image.shape[1], image.shape[2])
    return max(close, key=lambda each: _likelihood(detail, _axes(each, before)))


def _axes(found: Disagreement, before: Size) -> Axes:
    ((_, axes),) = different([RESIZERS[found.resizers[0]]], before, found.size)
    return axes


def _detail(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    x = np.asarray(image, np.float64)
    fine = x - uniform_filter(x, (0, 3, 3), mode="nearest")
    around = uniform_filter(np.square(fine).mean(0), NEIGHBOURHOOD, mode="nearest")
    made: npt.NDArray[np.float64] = fine / np.sqrt(around + FLOOR)
    return made


def _likelihood(detail: npt.NDArray[np.float64], axes: Axes) -> float:
    """Log likelihood ratio per pixel: other variance inside the row space than outside; 0 if it is not larger."""
    rows, columns = map(_row_space, axes)
    inside = np.square(rows.T @ detail @ columns).sum() / max(float(np.square(detail).sum()), FLOOR)
    share = rows.shape[1] * columns.shape[1] / (detail.shape[1] * detail.shape[2])
    if not share < inside < 1:
        return 0.0
    return float(-(share * np.log(inside / share) + (1 - share) * np.log((1 - inside) / (1 - share))) / 2)


def _row_space(axis: scipy.sparse.csr_array) -> npt.NDArray[np.float64]:
    """An orthonormal basis of the row space, ``(n, rank)``."""
    basis, triangle = np.linalg.qr(axis.toarray().T.astype(np.float64))
    made: npt.NDArray[np.float64] = basis[:, np.abs(np.diag(triangle)) > RANK]
    return made
