"""Inputs on which a report shows what a network makes of perturbations: a user's own, embedded images, or synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .._html import Shown
from ..data import SAMPLES, ImageSet, samples
from ..errors import ValueRangeError
from ..maps import Shape
from ..networks import Network
from ..networks.arguments import as_inputs

VALUES = 200 * 3 * 32 * 32
"""Number of values of all inputs together, about; but never fewer than ``FEWEST`` inputs."""

FEWEST, MOST = 4, 200
"""Numbers of inputs."""


@dataclass(frozen=True)
class ExampleInputs(Shown):
    """A batch of inputs, and what they are.

    Attributes:
        values: The inputs, float64 ``(B, *input_shape)``.
        names: Name of each.
        truth: Index of the true class of each, int64 ``(B,)``; None if it is not known.
        classes: Names of these classes.
        kind: ``"given"``, ``"embedded"``, ``"synthetic"`` or ``"random"``.
        words: What they are, in words, plural.
    """

    values: Tensor = field(repr=False, compare=False)
    names: tuple[str, ...]
    truth: Tensor | None = field(repr=False, compare=False)
    classes: tuple[str, ...]
    kind: str
    words: str

    def __len__(self) -> int:
        return len(self.values)

    def true_class(self, index: int) -> str:
        """Name of the true class of an input; empty if it is not known."""
        return "" if self.truth is None else self.classes[int(self.truth[index])]

    def to_dict(self) -> dict[str, Any]:
        """What the inputs are, as plain values for JSON."""
        return {"count": len(self), "kind": self.kind, "words": self.words}


def is_picture(shape: Shape) -> bool:
    """Whether inputs of a shape are pictures, ``(1 or 3, H, W)`` or ``(H, W, 1 or 3)``, of more than one pixel."""
    return len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)) and max(shape) > 3


def example_inputs(
    network: Network, images: ImageSet | Tensor | None = None, names: Sequence[str] = (), seed: int = 0
) -> ExampleInputs:
    """The inputs that a report shows, all of them said to be what they are.

    They are the given ones; else the embedded images of the data set that the network was trained on, or whose shape
    fits; else, where inputs are pictures, synthetic ones with the spectrum of photographs; else random numbers.

    Args:
        network: The network.
        images: The user's own inputs, ``(B, *input_shape)``, B ≥ 1, or a labelled set of images; None for none.
        names: Name of each of the inputs that are not a set.
        seed: Seed of synthetic inputs.

    Raises:
        ShapeError: The inputs have another shape.
        ValueRangeError: There are none, or one holds NaN or infinite values.
    """
    shape = network.input_shape
    if isinstance(images, ImageSet):
        network.check(images.tensor(torch.float64))
        return _labelled(images, "given", f"{len(images)} labelled images of {images.name}")
    if images is not None:
        given = as_inputs(images, network).double()
        if not len(given) or not bool(given.isfinite().all()):
            raise ValueRangeError("a report needs at least one input, of finite values")
        words = "your own images" if is_picture(shape) else "your own inputs"
        named = tuple(names) or tuple(f"input {index}" for index in range(len(given)))
        return ExampleInputs(given, named, None, (), "given", words)
    for name in [network.dataset] if network.dataset in SAMPLES else SAMPLES:
        embedded = samples(str(name))
        if embedded.images.shape[1:] == shape:
            title = {"cifar10": "CIFAR-10", "mnist": "MNIST"}[str(name)]
            known = network.dataset == name
            words = f"the first {len(embedded)} test images of {title}"
            words += "" if known else ", whose shape fits; the network may have been trained on others"
            found = _labelled(embedded, "embedded", words)
            return found if known else replace(found, truth=None, classes=())
    count = min(max(VALUES // max(torch.Size(shape).numel(), 1), FEWEST), MOST)
    generator = torch.Generator().manual_seed(seed)
    if is_picture(shape):
        count, words = min(count, 16), "synthetic images with the spectrum of photographs, as none were given"
        last = shape[0] not in (1, 3)
        made = natural_like(count, (shape[2], *shape[:2]) if last else shape, generator)
        return ExampleInputs(made.movedim(1, 3) if last else made, _numbered(count), None, (), "synthetic", words)
    values = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
    return ExampleInputs(values, _numbered(count), None, (), "random", "random numbers from 0 to 1, as none were given")


def _labelled(images: ImageSet, kind: str, words: str) -> ExampleInputs:
    names = tuple(f"test image {index}" for index in range(len(images)))
    return ExampleInputs(images.tensor(torch.float64), names, images.targets(), images.classes, kind, words)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"input {index}" for index in range(count))


def natural_like(count: int, shape: Shape, generator: torch.Generator) -> Tensor:
    """Random images whose amplitude falls as 1 / frequency, as that of photographs does (Field 1987).

    Args:
        count: Number of images.
        shape: ``(C, H, W)``; the channels share most of their content.
        generator: Source of the randomness.

    Returns:
        Images in [0, 1], float64 ``(count, *shape)``.
    """
    channels, height, width = shape
    noise = torch.randn(count, channels + 1, height, width, generator=generator, dtype=torch.float64)
    across, down = torch.fft.rfftfreq(width), torch.fft.fftfreq(height)[:, None]
    frequency = (across.square() + down.square()).sqrt().clamp(min=1 / max(height, width))
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(height, width))
    mixed: Tensor = smooth[:, :1] + 0.35 * smooth[:, 1:]
    mixed = mixed - mixed.mean((2, 3), keepdim=True)
    deviation = mixed.flatten(1).std(1).reshape(-1, 1, 1, 1).clamp(min=1e-12)
    return torch.clamp(0.5 + 0.2 * mixed / deviation, 0, 1)
