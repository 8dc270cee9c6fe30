"""Data sets and image files: fetching, reading and writing them. Nothing here runs a pickle.

Examples:
    >>> import torch, blindspace as bs
    >>> digits = bs.data.samples("mnist")
    >>> digits.tensor().shape, digits.targets()[:5]
    (torch.Size([200, 1, 28, 28]), tensor([7, 2, 1, 0, 4]))
"""

from ._fetch import fetch
from ._samples import SAMPLES, SAMPLES_WORD, samples
from .classes import CLASSES, SHAPES
from .datasets import NAMES, load
from .image_files import NamedImage, read_image, read_images, write_images, write_png
from .imageset import ImageSet
from .pixel_range import check_pixels
from .principal_components import PrincipalComponents
from .registry_packages import PACKAGES

__all__ = [
    "CLASSES",
    "NAMES",
    "PACKAGES",
    "SAMPLES",
    "SAMPLES_WORD",
    "SHAPES",
    "ImageSet",
    "NamedImage",
    "PrincipalComponents",
    "check_pixels",
    "fetch",
    "load",
    "read_image",
    "read_images",
    "samples",
    "write_images",
    "write_png",
]
