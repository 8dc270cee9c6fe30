"""The first 200 test images of CIFAR-10 and MNIST, embedded in the package for tests and first experiments."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from ..errors import UnknownNameError
from .classes import CLASSES
from .imageset import ImageSet

SAMPLES: tuple[str, ...] = ("cifar10", "mnist")

SAMPLES_WORD = "samples"
"""What users write for the embedded images of the data set that a network was trained on."""


def samples(name: str) -> ImageSet:
    """The 200 embedded test images of ``cifar10`` (3×32×32) or ``mnist`` (1×28×28).

    Raises:
        UnknownNameError: No images of that name are embedded.
    """
    if name not in SAMPLES:
        raise UnknownNameError(f"no samples of {name!r} are embedded; available are {', '.join(SAMPLES)}")
    with as_file(files(__package__) / "samples" / f"{name}.npz") as path, np.load(path, allow_pickle=False) as arrays:
        return ImageSet(name, arrays["images"], arrays["labels"].astype(np.int64), CLASSES[name])
