"""Reader of Street View House Numbers (Netzer and others 2011), cropped digits, from the MATLAB files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..files import read_bytes
from .imageset import Bytes, Labels


def read_svhn(path: Path) -> tuple[Bytes, Labels]:
    """Read ``train_32x32.mat`` or ``test_32x32.mat``, where label 10 stands for the digit 0.

    Returns:
        images uint8 ``(N, 3, 32, 32)`` and labels int64 ``(N,)`` in 0..9.

    Raises:
        FileError: The file is missing, damaged or contains other arrays.
    """
    from scipy.io import loadmat  # imported here because no other data set needs it

    stored = read_bytes(path)
    try:
        content = loadmat(BytesIO(stored), variable_names=["X", "y"])
    except Exception as error:  # For damaged files loadmat raises nearly anything.
        raise FileError(f"{path} is damaged or no MATLAB file ({error}); copy it again") from error
    images, labels = content.get("X"), content.get("y")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise FileError(f"{path} must hold X, uint8 of shape (32, 32, 3, N)")
    if labels is None or labels.dtype.kind not in "iuf" or labels.size != images.shape[3]:
        raise FileError(f"{path} must hold y, one number for each of the {images.shape[3]} images")
    digits = labels.ravel().astype(np.int64) % 10
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), digits
