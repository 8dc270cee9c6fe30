"""Known detectors of image-scaling attacks, each told the resizer and the size where it needs them.

Kim and others, Decamouflage: a framework to detect image-scaling attacks on convolutional neural networks (2020): the
error after reducing and enlarging, the distance from the image after a minimum filter, and the number of points in the
centred spectrum.
"""

from __future__ import annotations

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor

from ...evidence.resizes.disagreement import Size, views
from ...maps.resizing import resizer

BRIGHT = 0.6
"""Share of the range of the log spectrum above which a point counts."""

MINIMUM = 2
"""Side of the minimum filter, in pixels."""

NAMES = ("reduced and enlarged", "minimum filter", "points in the spectrum")


def baselines(image: Tensor, name: str, size: Size) -> list[float]:
    """The scores ``NAMES`` of an image ``(C, H, W)``, each higher for images that look tampered with."""
    reduced = torch.from_numpy(views(image.numpy(), resizer(name), size)[0]).double()
    back = F.interpolate(reduced[None], tuple(image.shape[1:]), mode="bilinear")[0]
    least = scipy.ndimage.minimum_filter(image.numpy(), (0, MINIMUM, MINIMUM))
    spectrum = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(image.mean(0).numpy()))))
    points = scipy.ndimage.label(spectrum > BRIGHT * spectrum.max())[1]
    return [
        float((image - back).square().mean()),
        float(np.square(image.numpy() - least).mean()),
        float(points),
    ]
