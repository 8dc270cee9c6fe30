"""Writes tensorflow-answers.npy: what TensorFlow makes of a few small images, for test_libraries.py.

TensorFlow is too heavy for the tests' environment. To write the file anew: install tensorflow-cpu beside Blindspace and
run this file. Written with TensorFlow 2.21.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blindspace.experiments.common.resize_libraries import LIBRARIES
from blindspace.maps.resizing.registry import RESIZERS

SIZES = (((9, 14), (4, 6)), ((5, 4), (7, 3)), ((1, 9), (2, 4)), ((12, 3), (3, 1)))
NAMES = tuple(each for each in RESIZERS if each.startswith("tensorflow "))
ANSWERS = Path(__file__).with_name("tensorflow-answers.npy")


def image(number: int) -> np.ndarray:
    """The image that is resized from and to ``SIZES[number]``, the same everywhere."""
    height, width = SIZES[number][0]
    values = np.arange(height * width) * 37 % 101 / 50 - 1
    return values.reshape(height, width).astype(np.float32).astype(np.float64)


def main() -> None:
    run = LIBRARIES["tensorflow"].real
    assert run is not None
    answers = [
        np.concatenate([run(RESIZERS[name].mode, image(i), SIZES[i][1]).ravel() for i in range(len(SIZES))])
        for name in NAMES
    ]
    np.save(ANSWERS, np.array(answers, np.float32))


if __name__ == "__main__":
    main()
