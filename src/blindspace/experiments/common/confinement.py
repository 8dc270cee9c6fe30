"""Subspaces that a black-box attack is confined to: the effective one, guesses at it, and controls.

All are represented so that a projection costs less than a query.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from ...attacks.directions import by_frequency, frequencies, waves
from ...maps import Kronecker, LinearMap, Shape
from ...solvers import Certificate
from ...subspaces import Complement, ProjectorMap, Subspace


class Known(Subspace):
    """A subspace of known dimension whose projector is given by a formula.

    Args:
        shape: Shape of one perturbation.
        dim: Dimension of the subspace.
        projector: Orthogonal projector, ``(B, *shape)`` to the same, preserving the dtype.
    """

    solver = "formula"

    def __init__(self, shape: Shape, dim: int, projector: Callable[[Tensor], Tensor]) -> None:
        self.shape, self._dim, self._projector = shape, dim, projector
        rank = self.ambient_dim - dim
        self.certificate = Certificate(rank, "exact", "construction", 0.0, 1.0, 1.0 if rank else None, None)

    @property
    def dim(self) -> int:
        """The dimension."""
        return self._dim

    def _project(self, v: Tensor) -> Tensor:
        return self._projector(v)

    def annihilator(self) -> LinearMap:
        """The projector onto the complement."""
        return ProjectorMap(Complement(self))


def spanned(basis: Tensor, within: Subspace | None = None) -> Subspace:
    """The span of orthonormal vectors, or its complement within a subspace that contains them.

    Args:
        basis: ``(k, *shape)``, float64.
        within: Subspace that contains the vectors; None for the span itself.
    """
    rows = {dtype: basis.flatten(1).to(dtype) for dtype in (torch.float32, torch.float64)}

    def onto(v: Tensor) -> Tensor:
        b = rows[v.dtype]
        return ((v.flatten(1) @ b.T) @ b).view_as(v)

    shape = tuple(basis.shape[1:])
    if within is None:
        return Known(shape, len(basis), onto)
    outer = within
    return Known(shape, outer.dim - len(basis), lambda v: outer.project(v) - onto(v))


def everything(shape: Shape) -> Subspace:
    """The whole space."""
    return Known(shape, prod(shape), lambda v: v)


def kept_by(resize: Kronecker) -> Subspace:
    """The row space of a resize to fewer pixels, by one orthonormal basis per axis."""
    axes = _axes(resize)
    return Known(resize.in_shape, axes.out_dim, lambda v: axes.adjoint(axes.forward(v)))


def behind(resize: Kronecker, harmless: Tensor) -> Subspace:
    """The row space of A R: what a network with the affine front A sees behind a resize R of full row rank.

    It is the row space of R minus R⁺ N(A), as R⁺ h is the preimage of h in the row space of R.

    Args:
        resize: The resize R.
        harmless: Basis of N(A), ``(k, *small)``, float64.
    """
    axes = _axes(resize)
    back = Kronecker([torch.linalg.pinv(matrix) for matrix in resize.matrices], resize.out_shape)
    lifted = axes.forward(back.forward(harmless))
    unseen = torch.linalg.qr(lifted.flatten(1).T).Q.T.reshape(harmless.shape)
    seen = spanned(unseen, everything(resize.out_shape))
    return Known(resize.in_shape, seen.dim, lambda v: axes.adjoint(seen.project(axes.forward(v))))


def _axes(resize: Kronecker) -> Kronecker:
    """The map from an image to its coordinates in the row space of a resize of full row rank."""
    return Kronecker([torch.linalg.qr(matrix.T).Q.T for matrix in resize.matrices], resize.in_shape)


def low_frequency(shape: Shape, dim: int) -> Subspace:
    """The lowest frequencies of the two-dimensional cosine transform, channels in turn."""
    mask = torch.zeros(prod(shape), dtype=torch.bool)
    mask[by_frequency(shape)[:dim]] = True
    kept = mask.view(shape)
    return Known(shape, dim, lambda v: waves(torch.where(kept, frequencies(v), 0.0)))


def random_subspace(shape: Shape, dim: int, generator: torch.Generator) -> Subspace:
    """A random subspace: random rows of a cosine transform of values with random signs.

    Known as a subsampled randomised trigonometric transform; a projection costs one fast transform (Ailon & Chazelle
    2006).
    """
    n = prod(shape)
    signs = torch.randint(2, (n,), generator=generator) * 2.0 - 1
    order = torch.randperm(n, generator=generator)
    kept = torch.zeros(n, dtype=torch.bool)
    kept[torch.randperm(n, generator=generator)[:dim]] = True

    def onto(v: Tensor) -> Tensor:
        mixed = (v.flatten(1) * signs.to(v.dtype))[:, order].numpy()
        found = torch.from_numpy(np.asarray(scipy.fft.dct(mixed, norm="ortho")))
        again = scipy.fft.idct(torch.where(kept, found, 0.0).numpy(), norm="ortho")
        back = torch.empty_like(found)
        back[:, order] = torch.from_numpy(np.asarray(again))
        return (back * signs.to(v.dtype)).view_as(v)

    return Known(shape, dim, onto)


def permuted(space: Subspace, generator: torch.Generator) -> Subspace:
    """A subspace with its coordinates permuted, by one permutation for the whole subspace."""
    order = torch.randperm(space.ambient_dim, generator=generator)
    inverse = order.argsort()

    def onto(v: Tensor) -> Tensor:
        there = v.flatten(1)[:, order].view_as(v)
        return space.project(there).flatten(1)[:, inverse].view_as(v)

    return Known(space.shape, space.dim, onto)
