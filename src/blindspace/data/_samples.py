"""The first 200 test images of CIFAR-10 and MNIST, embedded in the package for tests and first experiments."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from ..errors import UnknownNameError
from ..files import writing
from .classes import CLASSES
from .datasets import load
from .imageset import ImageSet

SAMPLES: tuple[str, ...] = ("cifar10", "mnist")
_COUNT = 200


def samples(name: str) -> ImageSet:
    """The 200 embedded test images of ``cifar10`` (3×32×32) or ``mnist`` (1×28×28).

    Raises:
        UnknownNameError: no images of that name are embedded.
    """
    if name not in SAMPLES:
        raise UnknownNameError(f"no samples of {name!r} are embedded; available are {', '.join(SAMPLES)}")
    with as_file(files(__package__) / "samples" / f"{name}.npz") as path, np.load(path, allow_pickle=False) as arrays:
        return ImageSet(name, arrays["images"], arrays["labels"].astype(np.int64), CLASSES[name])


def make_samples(folder: Path, root: Path | None = None) -> None:
    """Write the embedded files into ``folder``; it was run once when the package was made.

    Args:
        folder: folder for ``cifar10.npz`` and ``mnist.npz`` (images uint8, labels uint8).
        root: folder that contains the folders ``cifar10`` and ``mnist``; that of ``fetch`` if None.
    """
    for name in SAMPLES:
        first = load(name, "test", None if root is None else root / name).take(slice(_COUNT))
        with writing(folder / f"{name}.npz") as path:
            np.savez_compressed(path, images=first.images, labels=first.labels.astype(np.uint8))
