"""The labels that perturbed samples carry, and noise to be perturbed in the place of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..attacks.gradient import as_labels
from ..errors import ShapeError, UnknownNameError, ValueRangeError, integer, shown
from ..subspaces._arguments import generator_or_none

Noise = Literal["uniform", "gaussian"]
"""Distribution of the values of noise."""

NOISE: tuple[Noise, ...] = ("uniform", "gaussian")

MEAN, DEVIATION = 0.5, 0.25
"""Of Gaussian noise, before it is clipped to [0, 1]."""


def random_targets(labels: Tensor, classes: int, generator: torch.Generator | None = None) -> Tensor:
    """For each image one of the other classes, uniformly: the targets "R" of Kumano et al. 2024, section 5.

    Args:
        labels: True labels, whole numbers ``(N,)`` from 0 to ``classes`` − 1.
        classes: Number of classes, at least 2.
        generator: Source of randomness; torch's global generator if None.

    Returns:
        int64 ``(N,)``, never the true label.

    Raises:
        ValueRangeError: There are fewer than two classes, or a label is none of them.
        ShapeError: The labels are not whole numbers ``(N,)``.
    """
    labels = _checked(labels, classes)
    step = torch.randint(1, classes, labels.shape, generator=generator_or_none(generator))
    return (labels + step.to(labels.device)) % classes


def next_targets(labels: Tensor, classes: int) -> Tensor:
    """For each image the next class: the targets "D" of Kumano et al. 2024, section 5. As ``random_targets``."""
    return (_checked(labels, classes) + 1) % classes


def any_targets(count: int, classes: int, generator: torch.Generator | None = None) -> Tensor:
    """Uniformly random classes, int64 ``(count,)``, for noise, which has no true label.

    Raises:
        ValueRangeError: There are fewer than two classes, or the number is negative.
    """
    classes = integer(classes, "the number of classes", 2)
    count = integer(count, "the number of targets", 0)
    return torch.randint(classes, (count,), generator=generator_or_none(generator))


def noise(kind: Noise, count: int, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """Images of independent values without any content.

    Args:
        kind: ``uniform`` on [0, 1], or ``gaussian`` with mean 1/2 and standard deviation 1/4, clipped to [0, 1].
        count: Number of images.
        shape: Shape of one image.
        generator: Source of randomness; torch's global generator if None.

    Returns:
        float32 ``(count, *shape)`` in [0, 1].

    Raises:
        UnknownNameError: ``kind`` is neither.
        ValueRangeError: The number is negative.
        ShapeError: The shape is not one of whole numbers.
    """
    size = (integer(count, "the number of images", 0), *_shape(shape))
    if kind == "uniform":
        return torch.rand(size, generator=generator_or_none(generator))
    if kind == "gaussian":
        return (MEAN + DEVIATION * torch.randn(size, generator=generator_or_none(generator))).clamp(0, 1)
    raise UnknownNameError(f"no noise is called {shown(kind)}; there are {' and '.join(NOISE)}")


def _checked(labels: Tensor, classes: int) -> Tensor:
    classes = integer(classes, "the number of classes", 2)
    found = as_labels(labels, len(labels) if isinstance(labels, Tensor | Sequence) else 1)
    if len(found) and not bool(((found >= 0) & (found < classes)).all()):
        raise ValueRangeError(
            f"labels of {classes} classes lie from 0 to {classes - 1}, got {int(found.min())} to {int(found.max())}"
        )
    return found


def _shape(given: Sequence[int]) -> tuple[int, ...]:
    if isinstance(given, Sequence) and given and all(type(size) is int and size > 0 for size in given):
        return tuple(given)
    raise ShapeError(f"the shape of one image is whole numbers above 0, such as (1, 28, 28), got {shown(given)}")
