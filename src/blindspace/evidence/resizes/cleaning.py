"""Cleaning photographs before a resize: keep what the network reads, or what people see, and drop what differs.

Kept is either R x, with everything else replaced by its natural expectation given R x (``canonical``); or what people
see at that scale, by the least change of the image within the pixel range after which the network reads that too
(``nearest_preimage``), where it reads the average of each cell over the pixels that the resize hardly reads, because
those it reads may hold the hidden picture. Both are rounded to eight bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from ..._html import Shown
from ...errors import ShapeError, UnknownNameError
from ...maps.resizing import resizer
from ...maps.resizing.cell_means import cell_means
from ...subspaces.preimage import nearest_preimage
from .._conditional_mean import canonical
from .disagreement import Size, views
from .photographs import as_photographs

Keep = Literal["network", "people"]

ACCURACY = 1e-2
"""Duality gap at which the nearest image is near enough: it is rounded to eight bits."""

INSIDE = 1e-4
"""Share of what the network reads that the conditional mean may miss, for the same reason."""

LEAST_WEIGHT = 1e-3
"""Weight of the pixels that are read most, where a cell has no others."""


@dataclass(frozen=True)
class Cleaned(Shown):
    """A photograph whose network and people agree.

    Attributes:
        image: multiples of 1/255 in [0, 1], float64 ``(C, H, W)``.
        network: root mean square of the change of what the network reads, R (clean − x).
        people: root mean square of the change of what people see at that scale, R̄ (clean − x).
        apart: root mean square of R clean − R̄ clean, how far the two still differ.
        apart_before: the same of the image as it was.
    """

    image: Tensor
    network: float
    people: float
    apart: float
    apart_before: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the image."""
        return {name: value for name, value in vars(self).items() if name != "image"}


def clean_resize(image: Tensor, name: str, size: Sequence[int], keep: Keep = "people") -> Cleaned:
    """Take out of a photograph what network and people see differently.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        name: name of the resizer.
        size: (height, width) after the resize, in pixels.
        keep: "network" keeps what the network reads, and people then see that; "people" keeps what people see, and
            the network then reads that.

    Raises:
        ShapeError: the image is not (1 or 3, H, W), or the size is not smaller.
        ValueRangeError: a pixel is outside [0, 1].
        UnknownNameError: no resizer has that name, or ``keep`` is another word.

    Examples:
        >>> import torch, blindspace as bs
        >>> tampered = torch.full((3, 64, 64), 0.5)
        >>> tampered[:, ::4, ::4] = 1  # white to torch's nearest at 16×16, grey to people
        >>> clean = bs.clean_resize(tampered, "torch nearest", (16, 16))
        >>> round(float(clean.image.max()), 2)
        0.5
    """
    x = as_photographs([image])[0]
    if keep not in get_args(Keep):
        raise UnknownNameError(f"keep 'network' or 'people', not {keep!r}")
    before, after = (x.shape[1], x.shape[2]), tuple(size)
    if len(after) != 2 or min(after) < 1 or not any(m < n for n, m in zip(before, after, strict=True)):
        raise ShapeError(f"an image of {before} pixels is not reduced by a resize to {after}; give a smaller size")
    made = _kept_by_network(x, name, after) if keep == "network" else _kept_by_people(x, name, after)
    clean = (made.clamp(0, 1) * 255).round() / 255
    old, new = (views(each.numpy(), resizer(name), after) for each in (x, clean))
    return Cleaned(clean, _rms(new[0] - old[0]), _rms(new[1] - old[1]), _rms(new[0] - new[1]), _rms(old[0] - old[1]))


def _kept_by_network(x: Tensor, name: str, size: Size) -> Tensor:
    return canonical(resizer(name).map(tuple(x.shape), size), x[None], inside=INSIDE).images[0]


def _kept_by_people(x: Tensor, name: str, size: Size) -> Tensor:
    resize = resizer(name)
    target = _seen_by_people(x, *resize.matrices(x.shape[1:], size))
    return nearest_preimage(resize.map(tuple(x.shape), size), x[None], target[None], accuracy=ACCURACY).images[0]


def _seen_by_people(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The average of each cell, ``(C, h, w)``, over the pixels that the resize reads less than most."""
    read = rows.abs().amax(0)[:, None] * columns.abs().amax(0)
    weight = (1 - read / read.max()).clamp(min=LEAST_WEIGHT)
    even = [cell_means(matrix.shape[1], len(matrix)) for matrix in (rows, columns)]
    return (even[0] @ (x * weight) @ even[1].T) / (even[0] @ weight @ even[1].T)


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.square(difference, dtype=np.float64).mean()))
