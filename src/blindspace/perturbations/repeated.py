"""A subspace whose projector is applied thousands of times, alike for an image whatever else is in the batch.

A product of matrices rounds otherwise with another number of rows: one row is a product with a vector, and the rows
that are left over behind groups of four take another path. Those differences of 1e-16 are what a long search amplifies.
So small images are projected in batches padded to a multiple of four, and large ones one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..maps import LinearMap
from ..subspaces import Subspace

BASIS_LIMIT = 64 << 20
"""Largest size of a stored basis in bytes."""

SLOW = ("fourier", "krylov")
"""Solvers so slow for a few images that a small basis soon pays for itself."""

ROWS = 4
"""Batches are padded to a multiple of this: then MKL's GEMM gives every row the same bits, in any batch and in any
place of it (measured with AVX-512, AVX2 and SSE4.2 kernels, on one and two threads)."""

SMALL = 1 << 15
"""Number of values of an image up to which batches are padded; larger images are projected one at a time."""

_bases: WeakKeyDictionary[Subspace, Tensor] = WeakKeyDictionary()


class Repeated(Subspace):
    """A subspace, with a stored basis where that is quicker; the projection of an image depends on that image alone.

    Args:
        space: The subspace.
        rows: An orthonormal basis ``(dim, n)`` of it, or of a part of it that is meant instead; None to project by the
            solver of ``space``.
    """

    def __init__(self, space: Subspace, rows: Tensor | None = None) -> None:
        self.space = space
        self.rows = rows
        self.shape = space.shape
        self.certificate = space.certificate
        self.support = space.support
        self.solver = space.solver

    @property
    def dim(self) -> int:
        """Dimension of the subspace."""
        return self.space.dim if self.rows is None else len(self.rows)

    def annihilator(self) -> LinearMap:
        """The annihilator of ``space``."""
        return self.space.annihilator()

    def project_without(self, v: Tensor, left_out: Sequence[Tensor]) -> Tensor:
        """The nearest points of a part of the subspace, of its own for each image.

        Args:
            v: ``(B, *shape)``, float64.
            left_out: For each image an orthonormal basis ``(dim, k)`` of combinations of ``rows`` that are left out.
        """
        assert self.rows is not None
        rows = self.rows.to(v.device)
        share = self._padded(v).flatten(1) @ rows.T
        for one, basis in zip(share, left_out, strict=False):  # the padding has none
            one -= basis @ (basis.T @ one)
        return (share @ self._columns.to(v.device).T)[: len(v)].reshape(v.shape)

    def _padded(self, v: Tensor) -> Tensor:
        return torch.cat([v, v.new_zeros(-len(v) % ROWS, *self.shape)])

    def _project(self, v: Tensor) -> Tensor:
        if self.ambient_dim > SMALL:
            return torch.cat([self._plain(image[None]) for image in v]) if len(v) else v
        return self._plain(self._padded(v))[: len(v)]

    def _plain(self, v: Tensor) -> Tensor:
        if self.rows is None:
            return self.space.project(v)
        share = v.flatten(1) @ self.rows.to(v.device).T
        return (share @ self._columns.to(v.device).T).reshape(v.shape)

    @cached_property
    def _columns(self) -> Tensor:
        """The basis ``(n, dim)``: products along its rows and along its columns each read memory in one piece."""
        assert self.rows is not None
        return self.rows.T.contiguous()


def repeated(space: Subspace) -> Repeated:
    """The same subspace, ready to be projected onto many times.

    Args:
        space: The subspace.
    """
    return with_basis(space) if space.solver in SLOW else _as_repeated(space)


def with_basis(space: Subspace, limit: int = BASIS_LIMIT) -> Repeated:
    """The same subspace with a stored basis, computed once per subspace, unless it would be large.

    Args:
        space: The subspace.
        limit: Largest size of the basis in bytes; above it the result has none.
    """
    found = _as_repeated(space)
    if found.rows is not None or 8 * found.ambient_dim * found.dim > limit:
        return found
    if found.space not in _bases:
        _bases[found.space] = found.space.basis().flatten(1)
    return Repeated(found.space, _bases[found.space])


def _as_repeated(space: Subspace) -> Repeated:
    return space if isinstance(space, Repeated) else Repeated(space)
