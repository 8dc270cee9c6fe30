"""The nullspace of a network's affine front as searches use it: a matrix for small images, products for large ones."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..maps import LinearMap
from ..networks import Network, harmless
from ..solvers.projectors.krylov import pcg
from ..subspaces import Subspace

SMALL = 4096
"""Number of values of an image up to which the nullspace has a basis."""

MU = 1e-4
"""Weight μ of plain size where directions are damped."""

DAMPED, STEPS = 1e-2, 300
"""Share of its residual at which the conjugate gradients for that stop, and the largest number of their steps."""


class FrontSpace:
    """The harmless perturbations of the affine front, for flat vectors.

    Args:
        space: The nullspace.
        front: The linear part A of the affine front.
        dtype: Precision of the vectors.

    Attributes:
        dim: Its dimension.
        rows: Orthonormal rows that span it, ``(dim, n)``; none for large images.
    """

    def __init__(self, space: Subspace, front: LinearMap, dtype: torch.dtype) -> None:
        self.space, self.dim, self._front = space, space.dim, front
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

    def damped(self, v: Tensor) -> Tensor:
        """H⁻¹ v with H = AᵀA / ‖A‖² + μI, roughly: what the front makes large is made small, ``(B, n)``.

        Among the directions that a later layer does not see, those that change the front least lead farthest before its
        derivative is another one.
        """
        norm = float(self._front.norm()) or 1.0

        def metric(u: Tensor) -> Tensor:
            images = u.view(-1, *self.space.shape)
            return self._front.adjoint(self._front.forward(images)).flatten(1) / norm**2 + MU * u

        exact = v.double()
        return pcg(metric, exact, None, DAMPED * exact.norm(dim=1), STEPS)[0].to(v)


_spaces: WeakKeyDictionary[Network, dict[torch.dtype, FrontSpace]] = WeakKeyDictionary()


def front_space(network: Network, dtype: torch.dtype) -> FrontSpace:
    """That of a network; computed once."""
    known = _spaces.setdefault(network, {})
    if dtype not in known:
        known[dtype] = FrontSpace(harmless(network), network.front, dtype)
    return known[dtype]
