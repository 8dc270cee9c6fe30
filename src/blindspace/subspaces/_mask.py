"""Masks: the subspace of all perturbations that are exactly 0 outside some values of the image.

Intersected with the harmless subspace, as by ``space & mask(…)`` or ``space.within(…)``, a mask leaves what is harmless
and confined; by itself it confines attacks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ShapeError
from ..maps import Gather, LinearMap, Operator, Shape
from ..solvers import Certificate
from ._mask_argument import MaskLike, as_mask
from .subspace import Complement, Subspace


class Mask(Subspace):
    """All perturbations that are exactly 0 outside a mask: the span of the unit vectors of the values inside.

    Args:
        inside: Whether each value is inside, bool, of the shape of a perturbation; at least one is.

    Examples:
        >>> import torch, blindspace as bs
        >>> mask = bs.mask((0, 0, 4, 2), (3, 8, 8))  # a box of pixels: x0, y0, x1, y1
        >>> mask.dim
        24
        >>> mask.project(torch.ones(3, 8, 8)).sum()
        tensor(24.)
    """

    solver = "mask"
    reason = "values outside the mask become 0"

    def __init__(self, inside: Tensor) -> None:
        self.support: Tensor = inside
        self.shape: Shape = tuple(inside.shape)
        rank = self.ambient_dim - self.dim
        self.certificate = Certificate(rank, "exact", "construction", 0.0, 1.0, 1.0 if rank else None, None)

    @property
    def dim(self) -> int:
        """Number of values inside."""
        return int(self.support.sum())

    def _project(self, v: Tensor) -> Tensor:
        return torch.where(self.support.to(v.device), v, 0.0)

    def diagonal(self) -> Tensor:
        """As ``Subspace.diagonal``: 1 inside and 0 outside."""
        return self.support.double()

    def annihilator(self) -> LinearMap:
        """The values outside; a single 0 if there are none."""
        outside = (~self.support).flatten().nonzero().flatten()
        read = outside if len(outside) else torch.tensor([-1])
        return Gather(self.shape, (len(read),), read)

    @property
    def complement(self) -> Subspace:
        """The perturbations that are 0 inside."""
        return Complement(self) if bool(self.support.all()) else Mask(~self.support)

    def _within(self, inside: Tensor) -> Subspace:
        return Mask(as_mask(inside & self.support, self.shape))

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """The perturbations of another subspace that are 0 outside the mask. As ``within``."""
        return self._in_same_space(other).within(self.support)


def mask(given: MaskLike, shape: tuple[int, ...] | None = None) -> Mask:
    """The subspace of all perturbations that are exactly 0 outside a mask.

    Args:
        given: A tensor or array of True inside and False outside, or of 1 and 0; the path of a picture that is white
            inside; or a box of pixels (x0, y0, x1, y1), as numbers or as the text ``"x0,y0,x1,y1"``, which contains
            x0 ≤ x < x1 and y0 ≤ y < y1.
        shape: Shape of one perturbation, such as (3, 224, 224). A tensor may lack the channels, which are then masked
            alike; with a tensor of the whole shape it can be left out.

    Raises:
        ShapeError: The mask does not fit the shape, such as a box that leaves the image, or the shape is missing.
        ValueRangeError: The mask holds other values than 0 and 1, or selects nothing.
        FileError: The picture cannot be read.
        BlindspaceError: It is none of these.

    Examples:
        >>> import torch, blindspace as bs
        >>> inside = torch.zeros(8, 8, dtype=torch.bool)
        >>> inside[2:6, 2:6] = True
        >>> space = bs.nullspace(torch.nn.Conv2d(1, 1, 8), (1, 8, 8)) & bs.mask(inside, (1, 8, 8))
        >>> space.dim  # 16 values inside, one output
        15
    """
    if shape is None:
        known = getattr(given, "shape", None)
        if known is None:
            raise ShapeError("a mask that is a picture or a box needs the shape of a perturbation: shape=(3, 224, 224)")
        shape = tuple(known)
    return Mask(as_mask(given, tuple(shape)))
