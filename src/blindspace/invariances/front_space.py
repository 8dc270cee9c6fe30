"""The nullspace of a network's affine front as searches use it: a matrix for small images, products for large ones."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..networks import Network, harmless
from ..subspaces import Subspace

SMALL = 4096
"""Number of values of an image up to which the nullspace has a basis."""


class FrontSpace:
    """The harmless perturbations of the affine front, for flat vectors.

    Args:
        space: The nullspace.
        dtype: Precision of the vectors.

    Attributes:
        dim: Its dimension.
        rows: Orthonormal rows that span it, ``(dim, n)``; none for large images.
    """

    def __init__(self, space: Subspace, dtype: torch.dtype) -> None:
        self.space, self.dim = space, space.dim
        n = space.ambient_dim
        small = self.dim > 0 and n <= SMALL
        self.rows = (space.basis().flatten(1) if small else torch.zeros(0, n)).to(dtype)

    def reject(self, v: Tensor) -> Tensor:
        """The part of vectors that is orthogonal to it, ``(B, n)``."""
        if not self.dim:
            return v
        if len(self.rows):
            return v - (v @ self.rows.T) @ self.rows
        return self.space.reject(v.view(-1, *self.space.shape)).flatten(1)


_spaces: WeakKeyDictionary[Network, dict[torch.dtype, FrontSpace]] = WeakKeyDictionary()


def front_space(network: Network, dtype: torch.dtype) -> FrontSpace:
    """That of a network; computed once."""
    known = _spaces.setdefault(network, {})
    if dtype not in known:
        known[dtype] = FrontSpace(harmless(network), dtype)
    return known[dtype]
