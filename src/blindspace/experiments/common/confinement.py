"""Subspaces that a black-box attack is confined to: the effective one, guesses at it, and controls.

All are represented so that a projection costs less than a query.
"""

from __future__ import annotations

from math import prod

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from ...maps import Kronecker, Shape
from ...subspaces import Known, Spanned, Subspace


def outside(basis: Tensor, within: Subspace) -> Subspace:
    """The orthogonal complement of orthonormal vectors within a subspace that contains them.

    Args:
        basis: ``(k, *shape)``, float64.
        within: Subspace that contains the vectors.
    """
    inner = Spanned(basis)
    return Known(within.shape, within.dim - inner.dim, lambda v: within.project(v) - inner.project(v))


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
    seen = outside(unseen, everything(resize.out_shape))
    return Known(resize.in_shape, seen.dim, lambda v: axes.adjoint(seen.project(axes.forward(v))))


def _axes(resize: Kronecker) -> Kronecker:
    """The map from an image to its coordinates in the row space of a resize of full row rank."""
    return Kronecker([torch.linalg.qr(matrix.T).Q.T for matrix in resize.matrices], resize.in_shape)


def random_frequencies(shape: Shape, dim: int, generator: torch.Generator) -> Subspace:
    """A random subspace without a basis: random rows of a cosine transform of values with random signs.

    Known as a subsampled randomised trigonometric transform; a projection costs one fast transform (Ailon & Chazelle
    2006).
    """
    n = prod(shape)
    signs = torch.randint(2, (n,), generator=generator) * 2.0 - 1
    order = torch.randperm(n, generator=generator)
    kept = torch.zeros(n, dtype=torch.bool)
    kept[torch.randperm(n, generator=generator)[:dim]] = True

    def onto(v: Tensor) -> Tensor:
        mixed = (v.cpu().flatten(1) * signs.to(v.dtype))[:, order].numpy()
        found = torch.from_numpy(np.asarray(scipy.fft.dct(mixed, norm="ortho")))
        again = scipy.fft.idct(torch.where(kept, found, 0.0).numpy(), norm="ortho")
        back = torch.empty_like(found)
        back[:, order] = torch.from_numpy(np.asarray(again))
        return (back * signs.to(v.dtype)).view_as(v).to(v.device)

    return Known(shape, dim, onto)


def permuted(space: Subspace, generator: torch.Generator) -> Subspace:
    """A subspace with its coordinates permuted, by one permutation for the whole subspace."""
    order = torch.randperm(space.ambient_dim, generator=generator)
    inverse = order.argsort()

    def onto(v: Tensor) -> Tensor:
        there = v.flatten(1)[:, order].view_as(v)
        return space.project(there).flatten(1)[:, inverse].view_as(v)

    return Known(space.shape, space.dim, onto)
