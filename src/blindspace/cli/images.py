"""Arguments that stand for images, read and checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..data import SAMPLES, SAMPLES_WORD, NamedImage, check_pixels, read_images, samples
from ..data.channels import in_channels
from ..errors import FileError, ShapeError, ValueRangeError
from ..evidence import Evidence
from ..networks import Network

"""Stands for the 200 embedded test images of the network's data set."""


def load_images(given: Sequence[str], network: Network, pixel_range: bool = True) -> list[NamedImage]:
    """Read the images that arguments stand for, each of the network's input shape, float64.

    Greyscale is read as three equal channels if the network reads colours.

    Args:
        given: pictures, array files, folders, or the word ``samples``.
        network: the network that is to read them.
        pixel_range: whether values must lie in [0, 1].

    Raises:
        FileError: a file is missing, damaged, a pickle or not a picture.
        ShapeError: an image has another shape than the network reads.
        ValueRangeError: a value is NaN, infinite or out of range.
    """
    return images_of_shape(given, network.name, network.input_shape, network.dataset, pixel_range)


def images_of_shape(
    given: Sequence[str], reader: str, shape: tuple[int, ...], dataset: str | None, pixel_range: bool = True
) -> list[NamedImage]:
    """Read images of one shape. As ``load_images``.

    Args:
        given: pictures, array files, folders, or the word ``samples``.
        reader: name of what is to read them, for messages.
        shape: shape of each image.
        dataset: data set whose embedded images ``samples`` stands for; None if there are none.
        pixel_range: whether values must lie in [0, 1].
    """
    images: list[NamedImage] = []
    for word in given:
        if not word:
            raise FileError("no picture is given: one of the names is empty")
        if word == SAMPLES_WORD and not Path(word).exists():
            if dataset not in SAMPLES:
                raise FileError(f"no images are embedded for {reader}; give files or folders")
            pixels = samples(dataset).tensor(torch.float64).numpy()
            images += [NamedImage(f"sample-{index:03d}", image) for index, image in enumerate(pixels)]
        else:
            images += read_images([Path(word)])
    limit = (0.0, 1.0) if pixel_range else (-np.inf, np.inf)
    images = [NamedImage(image.name, in_channels(image.pixels, shape)) for image in _distinct(images)]
    for image in images:
        if image.pixels.shape != shape:
            raise ShapeError(
                f"{reader} reads images of shape {shape}, got {image.pixels.shape} in {image.name}; resize or convert "
                "them first"
            )
        check_pixels(image.pixels, image.name, *limit)
    return images


def load_pairs(
    first: str, second: str, network: Network, pixel_range: bool = True
) -> tuple[list[NamedImage], list[NamedImage]]:
    """Read the same images twice: the second ones in the order of the first.

    Images are matched by name if both arguments hold the same names, and in their own order otherwise.

    Args:
        first: argument that stands for the images as they were, with values in [0, 1].
        second: argument that stands for the images as they are now.
        network: the network that is to read them.
        pixel_range: whether the values of the second images must lie in [0, 1] too.

    Raises:
        FileError, ValueRangeError: as ``load_images``.
        ShapeError: as ``load_images``, there are more images of one than of the other.
    """
    before = load_images([first], network)
    after = load_images([second], network, pixel_range)
    return before, matched(before, after)


def matched(before: Sequence[NamedImage], after: Sequence[NamedImage]) -> list[NamedImage]:
    """The second images in the order of the first. As ``load_pairs``.

    Raises:
        ShapeError: there are more images of one than of the other.
    """
    if len(before) != len(after):
        raise ShapeError(f"A holds {len(before)} images and B {len(after)}; give the same images twice")
    by_name = {image.name: image for image in after}
    return [by_name[image.name] for image in before] if {image.name for image in before} == set(by_name) else [*after]


def stack(images: Sequence[NamedImage], network: Network | None = None) -> torch.Tensor:
    """The images as one batch, float64 ``(B, C, H, W)``, on the device of the network that is to read them."""
    found = torch.from_numpy(np.stack([image.pixels for image in images]))
    return found if network is None else found.to(network.device)


def check_finite(evidence: Evidence, what: str) -> None:
    """Refuse images so large that the network overflows in its own precision.

    Raises:
        ValueRangeError: an output or a value of the front is NaN or infinite.
    """
    measured = (value for value in evidence.to_dict().values() if isinstance(value, float))
    if not all(map(math.isfinite, measured)):
        raise ValueRangeError(f"{what} is too large: the network overflows in {evidence.dtype}; take a smaller one")


def _distinct(images: Sequence[NamedImage]) -> list[NamedImage]:
    """The same images under distinct names: a name already taken gets the next free number appended."""
    taken: dict[str, NamedImage] = {}
    for image in images:
        name, count = image.name, 2
        while name in taken:
            name, count = f"{image.name}-{count}", count + 1
        taken[name] = NamedImage(name, image.pixels)
    return list(taken.values())
