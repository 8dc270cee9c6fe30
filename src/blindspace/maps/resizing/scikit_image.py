"""Matrices of scikit-image's resizes along one axis."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from .base import Resizer, each_axis
from .cell_means import cell_means
from .pytorch import NO_ANTIALIAS

ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
"""The orders of the interpolating splines by name."""


def scikit_image_matrix(size: int, out: int, mode: str, antialias: bool = True) -> Tensor:
    """The matrix ``(out, size)`` of ``skimage.transform.resize`` along one axis, in float64, with its own defaults.

    A Gaussian filter of standard deviation (size / out − 1) / 2 where the image shrinks, then an interpolating spline
    between the centres of the pixels; the image is mirrored beyond its border, without the border pixel twice. The
    spline of order 3 reads the whole axis.

    Args:
        size: Size of the axis, in pixels.
        out: Size of the axis after resizing.
        mode: One of ``ORDERS``.
        antialias: Whether the Gaussian filter is applied.

    Source: skimage/transform/_warps.py, whose filters are SciPy's.
    """
    from scipy import ndimage  # takes a tenth of a second to import, and few programs resize so

    units = np.eye(size)
    deviation = max(0.0, (size / out - 1) / 2) if antialias else 0.0
    smooth = ndimage.gaussian_filter(units, (deviation, 0), mode="mirror")
    zoom = (1 / (size / out), 1.0)
    matrix = ndimage.zoom(smooth, zoom, order=ORDERS[mode], mode="mirror", grid_mode=True)
    return torch.from_numpy(np.ascontiguousarray(matrix))


FLOATS = "converted to float; the result is float in [0, 1], not rounded"

RESIZERS = (
    *(
        Resizer(
            name=f"scikit-image {mode}{'' if antialias else NO_ANTIALIAS}",
            library="scikit-image",
            mode=f"{mode}{'' if antialias else NO_ANTIALIAS}",
            linear="linear with clip=False; by default the result is clipped to the range of the image",
            eight_bit=eight_bit,
            bound=bound,
            build=each_axis(partial(scikit_image_matrix, mode=mode, antialias=antialias)),
        )
        for mode, antialias, eight_bit, bound in (
            ("nearest", True, "smoothed in 8 bits, rounded down after each pass, if anti_aliasing=True is given", 2.0),
            ("nearest", False, "copied unchanged; the default for whole numbers, while floats are smoothed", 0.0),
            ("linear", True, FLOATS, 0.0),
            ("linear", False, FLOATS, 0.0),
            ("cubic", True, FLOATS, 0.0),
            ("cubic", False, FLOATS, 0.0),
        )
    ),
    Resizer(
        name="scikit-image local-mean",
        library="scikit-image",
        mode="local-mean",
        linear="linear",
        eight_bit=FLOATS,
        bound=0.0,
        build=each_axis(cell_means),
    ),
)
"""scikit-image's ways to resize."""
