"""A name for what a network sees of an image: equal for images that it reads alike, whatever is hidden in them.

The visible component (I − P) x is mixed by random signs and a cosine transform, after which a change of any pixel shows
in every coefficient alike (Ailon and Chazelle, The fast Johnson-Lindenstrauss transform, 2009). Some coefficients, each
with an offset of its own, are rounded to whole steps, and these hashed: a part of the fingerprint. Rounding is a cliff:
however small an error, now and then a coefficient falls on the other side. So there are several parts of other
coefficients, and two fingerprints are the same where any part is.

Let ε be the L2 size of the difference of two visible components, and r = ε / STEP. Over the random signs a part differs
with a probability of at most COUNT · √(2/π) · r and, for r ≤ 1, of at least 1 − exp(−COUNT · 0.79 r). So fingerprints
that ought to be the same differ with at most the former to the power of PARTS: for rounding in float64 (ε ≈ 1e-13) with
1e-70, for float32 copies of 32×32 images in [0, 1] (ε ≈ 6e-7) with 1e-17, of images with noise of size 10 (1e-5) with
1e-7. A change that shows by half of 1/255 is missed with 1e-9. Who knows all this can make two images that differ and
share a fingerprint; it names images, it does not sign them.
"""

from __future__ import annotations

import hashlib
from math import sqrt

import numpy as np
import scipy.fft
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps.linear_map import checked
from ..subspaces import Subspace

PARTS = 8
"""Parts of a fingerprint, …"""

DIGITS = 16
"""… hexadecimal digits of each, …"""

COUNT = 64
"""… and coefficients that it is of."""

STEP = 0.004
"""Of the rounding, in units of the L2 size of a change: 1/255 in one pixel."""

SEED = 20240204
"""Of signs, choice and offsets; another makes other fingerprints."""


def fingerprint(space: Subspace, image: Tensor) -> str:
    """The fingerprint of one image; compare two by ``same``.

    Args:
        space: of what is invisible.
        image: ``space.shape`` or ``(1, *space.shape)``, of any floating dtype, but best float64.

    Returns:
        ``PARTS`` · ``DIGITS`` hexadecimal digits.

    Raises:
        ShapeError: another shape, or more than one image.
        ValueRangeError: a value is NaN or infinite.
    """
    x = checked(image.reshape(1, *image.shape) if image.ndim == len(space.shape) else image, space.shape, "image")
    if len(x) != 1:
        raise ShapeError(f"a fingerprint is that of one image, got {len(x)}")
    if not bool(x.isfinite().all()):
        raise ValueRangeError("the image holds NaN or infinite values; it has no fingerprint")
    visible = space.reject(x.double()).flatten().cpu().numpy()
    n = len(visible)
    draw = np.random.Generator(np.random.PCG64(SEED))
    mixed = scipy.fft.dct(visible * draw.choice((-1.0, 1.0), n), norm="ortho") * sqrt(n)
    chosen = draw.integers(n, size=(PARTS, COUNT))
    steps = np.floor(mixed[chosen] / STEP + draw.random((PARTS, COUNT))).astype("<i8")
    salt = repr((space.shape, space.dim)).encode()
    return "".join(hashlib.sha256(salt + part.tobytes()).hexdigest()[:DIGITS] for part in steps)


def same(first: str, second: str) -> bool:
    """Whether two fingerprints are of images that a network reads alike: any part is equal.

    Raises:
        ValueRangeError: one of them is no fingerprint.
    """
    for given in (first, second):
        if len(given) != PARTS * DIGITS or set(given) - set("0123456789abcdef"):
            raise ValueRangeError(f"{given!r} is no fingerprint; one has {PARTS * DIGITS} hexadecimal digits")
    return any(first[i : i + DIGITS] == second[i : i + DIGITS] for i in range(0, PARTS * DIGITS, DIGITS))
