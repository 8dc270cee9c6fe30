"""Data sets and pictures: loading, fetching, reading and writing them. Nothing here runs a pickle."""

from __future__ import annotations

from ._fetch import fetch
from ._samples import SAMPLES, samples
from .classes import CLASSES
from .datasets import NAMES, load
from .images import NamedImage, check_pixels, read_image, read_images, write_images, write_png
from .imageset import ImageSet
from .sources import SOURCES

__all__ = [
    "CLASSES",
    "NAMES",
    "SAMPLES",
    "SOURCES",
    "ImageSet",
    "NamedImage",
    "check_pixels",
    "fetch",
    "load",
    "read_image",
    "read_images",
    "samples",
    "write_images",
    "write_png",
]
