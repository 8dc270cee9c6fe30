"""What perturbed data sets are made from, by a word: the images of a data set, noise, or files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from ..data import NAMES, SAMPLES, SAMPLES_WORD, load, read_images, samples
from ..data.channels import in_channels
from ..data.pixel_range import check_pixels
from ..errors import FileError, ShapeError, UnknownNameError, ValueRangeError, integer
from ..networks import Network
from .targets import NOISE, Noise, noise

SPLITS = ("train", "test", "samples")
"""Parts of a data set; ``samples`` are the 200 test images that come with the package."""

NOISE_IMAGES = 10_000
"""Number of images of noise, if none is given."""


class Source(Protocol):
    """Images to be perturbed, in their order."""

    @property
    def count(self) -> int:
        """Number of images."""

    @property
    def is_noise(self) -> bool:
        """Whether the images are noise, of no class."""

    def portion(self, start: int, stop: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Some of the images, float32 ``(n, *shape)`` in [0, 1], and their true classes, int64 ``(n,)``.

        Args:
            start: The first one.
            stop: One after the last one.
            generator: Source of randomness of noise, which is given for each portion anew.

        Returns:
            The classes are None where none are known: of noise and of files.
        """


@dataclass(frozen=True, eq=False)
class Stored:
    """Images in memory: float32 ``(N, *shape)``, and their classes, int64 ``(N,)`` or None."""

    images: Tensor
    labels: Tensor | None
    is_noise: bool = False

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.images)

    def portion(self, start: int, stop: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """As ``Source``."""
        return self.images[start:stop], None if self.labels is None else self.labels[start:stop]


@dataclass(frozen=True)
class NoiseImages:
    """Noise of a kind."""

    kind: Noise
    count: int
    shape: tuple[int, ...]
    is_noise: bool = True

    def portion(self, start: int, stop: int, generator: torch.Generator) -> tuple[Tensor, None]:
        """As ``Source``."""
        return noise(self.kind, stop - start, self.shape, generator), None


def labelled_images(name: str, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Images of a data set, float32 ``(N, C, H, W)`` in [0, 1], and their labels, int64 ``(N,)``.

    Args:
        name: A data set, perhaps with one of ``SPLITS`` after a colon, such as ``mnist:samples``.
        split: The split if none is named.
        count: Number of images, the first ones; all if None.

    Raises:
        UnknownNameError: There is no such data set or split.
        FileError: The data set is not there.
        ValueRangeError: It has fewer images.
    """
    base, _, part = name.partition(":")
    part = part or split
    if base not in NAMES or part not in SPLITS:
        raise UnknownNameError(
            f"no labelled images are called {name!r}; give a data set, {', '.join(NAMES)}, perhaps with "
            f"{', '.join(f':{each}' for each in SPLITS)}"
        )
    found = samples(base) if part == "samples" else load(base, "test" if part == "test" else "train")
    found = found.take(slice(_count(count, len(found), name)))
    return found.tensor(torch.float32), found.targets()


def source_named(word: str, split: str, network: Network, count: int | None = None) -> Source:
    """The images that a word stands for.

    Args:
        word: A data set as for ``labelled_images``; ``samples`` for the embedded images of the one that the network
            was trained on; ``uniform`` or ``gaussian`` for noise; or a file or folder of pictures or arrays.
        split: The split of a data set, if the word names none.
        network: The network that reads them.
        count: Number of images, the first ones; if None, all, and ``NOISE_IMAGES`` of noise.

    Raises:
        FileError: A file is missing, damaged or no image, or no images are embedded for the network.
        UnknownNameError: There is no such split, or no images are embedded of this data set.
        ShapeError: The images are of another shape than the network reads.
        ValueRangeError: There are fewer images than asked for, or values outside [0, 1].
    """
    shape = network.input_shape
    for kind in get_args(Noise):
        if word == kind:
            return NoiseImages(kind, integer(NOISE_IMAGES if count is None else count, "the count", 1), shape)
    if _embedded(word):
        if network.dataset not in SAMPLES:
            raise FileError(
                f"no images are embedded for {network.name}; give {', '.join(f'{each}:{word}' for each in SAMPLES)}, "
                "another data set, a file or a folder"
            )
        word = f"{network.dataset}:{word}"
    if word.partition(":")[0] in NAMES:
        images, labels = labelled_images(word, split, count)
        found = Stored(images, labels)
    else:
        there = _of_files(word, shape)
        found = Stored(there[: _count(count, len(there), word)], None)
    if tuple(found.images.shape[1:]) != shape:
        raise ShapeError(
            f"the network reads images of shape {shape}, those of {word} have {tuple(found.images.shape[1:])}"
        )
    return found


def content_of(word: str) -> str:
    """A hash of the images in the files that a word names; empty for other words."""
    if word in NOISE or word.partition(":")[0] in NAMES or _embedded(word):
        return ""
    digest = hashlib.sha256()
    for image in read_images([Path(word)]):
        digest.update(f"{image.name} {image.pixels.shape}".encode() + np.ascontiguousarray(image.pixels).tobytes())
    return digest.hexdigest()


def _embedded(word: str) -> bool:
    """Whether a word stands for the embedded images of the network's data set; a file of that name comes first."""
    return word == SAMPLES_WORD and not Path(word).exists()


def _of_files(word: str, shape: tuple[int, ...]) -> Tensor:
    pixels = []
    for image in read_images([Path(word)]):
        found = in_channels(image.pixels, shape)
        check_pixels(found, image.name, 0.0, 1.0)
        if found.shape != shape:
            raise ShapeError(f"the network reads images of shape {shape}, got {found.shape} in {image.name}; resize it")
        pixels.append(found)
    return torch.from_numpy(np.stack(pixels)).float()


def _count(count: int | None, there: int, name: str) -> int:
    found = there if count is None else integer(count, "the count", 1)
    if found > there:
        raise ValueRangeError(f"{name} has {there} images, fewer than {found}")
    return found
