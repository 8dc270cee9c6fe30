"""Photographs that come with scikit-image, in the public domain or given to it: cat, rocket, cup and astronaut."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from ...data import ImageSet
from ...extras import library

PHOTOGRAPHS = "photographs"
"""Name of the set."""

NAMES = ("chelsea", "rocket", "coffee", "astronaut")
"""Their names in scikit-image; neighbours show different things."""


def photographs(side: int) -> ImageSet:
    """The photographs cropped to their central square and resized to ``side`` × ``side``, each of a class of its own.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    shown = library("skimage", "metrics", "the set of photographs").data
    squares = [
        np.asarray(ImageOps.fit(Image.fromarray(getattr(shown, name)()), (side, side), Image.Resampling.BICUBIC))
        for name in NAMES
    ]
    return ImageSet(PHOTOGRAPHS, np.stack(squares).transpose(0, 3, 1, 2).copy(), np.arange(len(NAMES)), NAMES)
