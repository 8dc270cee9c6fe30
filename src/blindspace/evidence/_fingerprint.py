"""Fingerprint of what a network sees of an image: equal for images that it reads alike, whatever is hidden in them.

The visible component (I − P) x is mixed by random signs and a cosine transform, which spreads a change of any pixel
over all coefficients alike (Ailon and Chazelle, The fast Johnson-Lindenstrauss transform, 2009). Some coefficients,
each with an offset of its own, are rounded to multiples of a step, and the integers hashed: one part of the
fingerprint. This is known as locality-sensitive hashing by random projections (Datar and others, 2004). However small
an error, now and then a coefficient is rounded to another integer. So there are several parts made from different
coefficients, and two fingerprints are the same if any part is.

Let ε be the L2 norm of the difference of two visible components, and r = ε / STEP. Over the random signs a part differs
with a probability of at most COUNT · √(2/π) · r and, for r ≤ 1, of at least 1 − exp(−COUNT · 0.79 r). So fingerprints
that ought to be the same differ with at most the former to the power of PARTS: for rounding in float64 (ε ≈ 1e-13) with
1e-70, for float32 copies of 32×32 images in [0, 1] (ε ≈ 6e-7) with 1e-17, for images with noise of size 10 (1e-5) with
1e-7. A visible change of half of 1/255 is missed with 1e-9. Somebody who knows all this can construct two different
images that share a fingerprint; it identifies images and is not a signature.
"""

from __future__ import annotations

import hashlib
from math import sqrt

import numpy as np
import scipy.fft
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..maps import Operator
from ..networks.arguments import as_images, as_space

PARTS = 8
"""Number of parts of a fingerprint."""

DIGITS = 16
"""Number of hexadecimal digits per part."""

COUNT = 64
"""Number of coefficients per part."""

STEP = 0.004
"""Step of the rounding, as the L2 norm of a change: 1/255 in one pixel."""

SEED = 20240204
"""Seed of signs, choice and offsets; another seed makes other fingerprints."""


def fingerprint(space: Operator, image: Tensor) -> str:
    """The fingerprint of one image; compare two of them by ``same``.

    Args:
        space: the invisible subspace; a network or a map stands for its nullspace.
        image: ``space.shape`` or ``(1, *space.shape)``, of any floating dtype, preferably float64.

    Returns:
        ``PARTS`` · ``DIGITS`` hexadecimal digits.

    Raises:
        ShapeError: the image has another shape, or there is more than one.
        ValueRangeError: a value is NaN or infinite.
    """
    space = as_space(space)
    x = as_images(image, space.shape, "image")
    if len(x) != 1:
        raise ShapeError(f"a fingerprint is made from one image, got {len(x)}")
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
    """Whether two fingerprints belong to images that a network reads alike: any part is equal.

    Raises:
        ValueRangeError: one of them is not a fingerprint.
    """
    for given in (first, second):
        if not isinstance(given, str) or len(given) != PARTS * DIGITS or set(given) - set("0123456789abcdef"):
            raise ValueRangeError(f"{given!r} is not a fingerprint, which has {PARTS * DIGITS} hexadecimal digits")
    return any(first[i : i + DIGITS] == second[i : i + DIGITS] for i in range(0, PARTS * DIGITS, DIGITS))
