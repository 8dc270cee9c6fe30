"""Filter kernels of resizing, as functions of the distance in pixels; those of one library alone stand in its file."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import numpy as np

Array = np.ndarray
Kernel = Callable[[Array], Array]


def box(x: Array) -> Array:
    """1 on (−1/2, 1/2], and 0 elsewhere."""
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def triangle(x: Array) -> Array:
    """1 − |x| up to distance 1: linear interpolation."""
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0)


def hamming(x: Array) -> Array:
    """The sinc up to distance 1 under a Hamming window."""
    return np.where(np.abs(x) < 1, np.sinc(x) * (0.54 + 0.46 * np.cos(pi * x)), 0)


def cubic(x: Array, a: float = -0.5) -> Array:
    """The cubic convolution kernel (Keys 1981) with coefficient ``a``; −1/2 is the Catmull-Rom spline."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def mitchell(x: Array, b: float = 1 / 3, c: float = 1 / 3) -> Array:
    """The cubic filter with parameters ``b`` and ``c`` (Mitchell and Netravali 1988)."""
    x = np.abs(x)
    near = ((12 - 9 * b - 6 * c) * x - 18 + 12 * b + 6 * c) * x * x + 6 - 2 * b
    far = (((-b - 6 * c) * x + 6 * b + 30 * c) * x - 12 * b - 48 * c) * x + 8 * b + 24 * c
    return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6


def lanczos(x: Array, lobes: int = 3) -> Array:
    """The sinc up to a distance of ``lobes`` under the central lobe of a wider sinc."""
    return np.where((x >= -lobes) & (x < lobes), np.sinc(x) * np.sinc(x / lobes), 0)
