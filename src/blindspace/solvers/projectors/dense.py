"""The whole matrix at once: for any map small enough."""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from ...errors import TooLargeError, UnsupportedLayerError
from ...maps import LinearMap
from ..base import Solver
from ..dense_algebra.orthonormal_basis import Projector, projector
from ..factor_cache.store import Arrays, kept, packed, unpacked
from ..rank.certificate import Certificate
from ..rank.modular_elimination import rational_factors

MEMORY_LIMIT = 8 << 30
"""Bytes above which the dense solver refuses."""

VERSION = 2
"""Of what is kept on disk; a change of basis.py or spectrum.py that changes their results makes it one more."""


class DenseSolver(Solver):
    """Orthonormal basis of the nullspace or row space of the whole matrix; kept on disk where it took long.

    Args:
        operator: any.
        limit: bytes the factorisation may take.

    Raises:
        TooLargeError: it would take more; the message holds the figures.
    """

    name = "dense"

    def __init__(self, operator: LinearMap, limit: int = MEMORY_LIMIT) -> None:
        super().__init__(operator)
        needed = memory(operator)
        if needed > limit:
            raise TooLargeError(
                f"the dense solver needs about {needed / 2**30:.1f} GiB for {operator} "
                f"({operator.out_dim} × {operator.in_dim}), above the limit of {limit / 2**30:.1f} GiB; "
                "take a smaller input shape, or a layer whose kernel is no larger than its stride"
            )
        made_from = {
            "solver": self.name,
            "version": VERSION,
            "certificate": [field.name for field in fields(Certificate)],
            "map": operator,
        }
        self.projector = _restored(
            operator,
            kept(made_from, lambda: _arrays(projector(operator.to_scipy(), lambda: rational_factors(operator)))),
        )
        self.certificate = self.projector.certificate
        self.reason = f"{operator.out_dim} × {operator.in_dim} is small enough for the whole matrix"
        self._limit = limit

    def _project(self, x: Tensor) -> Tensor:
        flat = self.projector.rows(x.reshape(len(x), self.operator.in_dim))
        if self.projector.row is not None:
            flat = self.projector.rows(flat)  # takes out what rounding left of a large row space
        return flat.reshape(x.shape)

    def gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b by Cholesky, refined once with A itself, whose condition is only the root of A Aᵀ's.

        Args:
            b: ``(B, *out_shape)``, float64.

        Returns:
            The same shape.

        Raises:
            UnsupportedLayerError: A is not certified to have full row rank, its condition is above about 1e8, which
                A Aᵀ squares, or A Aᵀ would take more than the limit.
        """
        u = self._gram_solve(b)
        return u + self._gram_solve(b - self.operator._forward(self.operator._adjoint(u)))

    def _gram_solve(self, b: Tensor) -> Tensor:
        factor, scale = self._gram_factor
        columns = b.flatten(1).to("cpu", torch.float64).T / scale
        return (torch.cholesky_solve(columns, factor) / scale).T.reshape(b.shape).to(b)

    @cached_property
    def _gram_factor(self) -> tuple[Tensor, float]:
        """Lower Cholesky factor of (A / s)(A / s)ᵀ, made when it is first asked for, and s."""
        size = self.operator.out_dim
        if self.certificate.rank < size or self.certificate.kind != "exact":
            raise UnsupportedLayerError(f"A Aᵀ of {self.operator} has no inverse: {self.certificate} of {size}")
        needed = 8 * (2 * size * size + size * self.operator.in_dim)
        if needed > self._limit:
            raise UnsupportedLayerError(
                f"A Aᵀ of {self.operator} needs about {needed / 2**30:.1f} GiB, "
                f"above the limit of {self._limit / 2**30:.1f} GiB"
            )
        a = self.operator.to_scipy()
        scale = 2.0 ** float(np.floor(np.log2(np.abs(a.data).max())))  # exact; keeps squares of tiny weights in range
        factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(_gram(a / scale)))
        if int(failed):
            condition = self.certificate.condition
            raise UnsupportedLayerError(
                f"{self.operator} is too ill-conditioned for Cholesky of A Aᵀ: condition {condition:.1e}"
            )
        return factor, scale


def memory(operator: LinearMap) -> int:
    """Bytes that the dense solver needs at its peak, estimated: the matrix, three Gram matrices and two bases."""
    small = min(operator.in_dim, operator.out_dim)
    basis = operator.in_dim * min(small, max(operator.in_dim - small, 1))
    return 8 * (operator.in_dim * operator.out_dim + 3 * small * small + 2 * basis)


def _gram(a: scipy.sparse.csr_array) -> np.ndarray:
    """A Aᵀ, ``(m, m)``; by a sparse product where that pays."""
    if a.nnz < 0.1 * a.shape[0] * a.shape[1]:
        return np.asarray((a @ a.T).toarray())
    dense = a.toarray()
    return np.asarray(dense @ dense.T)


def _arrays(found: Projector) -> Arrays:
    """A projector as arrays."""
    name, basis = ("null", found.null) if found.null is not None else ("row", found.row)
    assert basis is not None
    return {"read": found.read.numpy(), name: basis.numpy(), "certificate": packed(found.certificate.to_dict())}


def _restored(operator: LinearMap, arrays: Arrays) -> Projector:
    """The projector that ``_arrays`` was given."""
    bases = {name: torch.from_numpy(arrays[name]) for name in ("null", "row") if name in arrays}
    certificate = Certificate(**unpacked(arrays["certificate"]))
    return Projector(
        operator.in_dim, torch.from_numpy(arrays["read"]), bases.get("null"), bases.get("row"), certificate
    )
