"""The whole matrix at once, for any map that is small enough.

Known as the orthogonal projector by the SVD, or by Cholesky or eigenvectors of the Gram matrix, see
``dense_algebra/svd.py``; Golub & Van Loan, Matrix Computations, sections 2.5 and 5.5.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError, require_memory
from ...maps import LinearMap
from ..base import MEMORY_LIMIT, Cost, Solver, register
from ..dense_algebra.orthonormal_basis import Projector, projector
from ..dense_algebra.products import gram, power_of_two
from ..dense_algebra.svd import SVD_LIMIT
from ..factor_cache import Arrays, kept, packed, unpacked
from ..rank.certificate import Certificate
from ..rank.modular_elimination import rational_factors

VERSION = 2  # Version of what is kept on disk; a change of ``dense_algebra`` that changes its results increases it


@register
class DenseSolver(Solver):
    """An orthonormal basis of the nullspace or row space of the whole matrix; kept on disk if it took long.

    Args:
        operator: The linear map A, of any kind.
        limit: Bytes that the factorisation may take.
        svd_limit: Size of the smaller side up to which LAPACK's SVD is used.

    Raises:
        TooLargeError: The factorisation would take more than the limit; the message holds the figures.
    """

    name = "dense"
    scope = "anything of up to a few thousand dimensions"
    how = "one SVD or Cholesky of the whole matrix"

    def __init__(self, operator: LinearMap, limit: int = MEMORY_LIMIT, svd_limit: int = SVD_LIMIT) -> None:
        super().__init__(operator)
        require_memory(
            f"the dense solver of {operator} ({operator.out_dim} × {operator.in_dim})",
            self.cost(operator).memory,
            limit,
            "take a smaller input shape, or a layer whose kernel is no larger than its stride",
        )
        made_from = {
            "solver": self.name,
            "version": VERSION,
            "certificate": [field.name for field in fields(Certificate)],
            "svd_limit": svd_limit,
            "map": operator,
        }

        def compute() -> Arrays:
            return _arrays(projector(operator.to_scipy(), lambda: rational_factors(operator), svd_limit))

        self.projector = _restored(operator, kept(made_from, compute))
        self.certificate = self.projector.certificate
        self.reason = f"{operator.out_dim} × {operator.in_dim} is small enough for the whole matrix"
        self._limit = limit

    @classmethod
    def cost(cls, operator: LinearMap) -> Cost:
        """The matrix, three Gram matrices and two bases."""
        small = min(operator.in_dim, operator.out_dim)
        basis = operator.in_dim * min(small, max(operator.in_dim - small, 1))
        return Cost(8 * (operator.in_dim * operator.out_dim + 3 * small * small + 2 * basis), 60)

    def _project(self, x: Tensor) -> Tensor:
        flat = self.projector.rows(x.reshape(len(x), self.operator.in_dim))
        if self.projector.row is not None:
            flat = self.projector.rows(flat)  # removes what rounding left of a large row space
        return flat.reshape(x.shape)

    def _diagonal(self) -> Tensor:
        return self.projector.diagonal()

    def _gram_inverse(self, b: Tensor) -> Tensor:
        """By Cholesky, refined once with A itself, whose condition is only the square root of that of A Aᵀ."""
        u = self._gram_solve(b)
        return u + self._gram_solve(b - self.operator._forward(self.operator._adjoint(u)))

    def _gram_solve(self, b: Tensor) -> Tensor:
        factor, scale = self._gram_factor
        columns = b.flatten(1).to("cpu", torch.float64).T / scale
        return (torch.cholesky_solve(columns, factor) / scale).T.reshape(b.shape).to(b)

    @cached_property
    def _gram_factor(self) -> tuple[Tensor, float]:
        """Lower Cholesky factor of (A / s)(A / s)ᵀ, and s; refused above a condition of 1e8, which A Aᵀ squares."""
        size = self.operator.out_dim
        if self.certificate.rank < size or self.certificate.kind != "exact":
            raise UnsupportedLayerError(f"A Aᵀ of {self.operator} has no inverse: {self.certificate} of {size}")
        needed = 8 * (2 * size * size + size * self.operator.in_dim)
        require_memory(f"A Aᵀ of {self.operator}", needed, self._limit, "take a smaller input shape")
        a = self.operator.to_scipy()
        scale = power_of_two(float(np.abs(a.data).max()))
        factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(gram(a / scale)))
        if int(failed):
            condition = self.certificate.condition
            raise UnsupportedLayerError(
                f"{self.operator} is too ill-conditioned for Cholesky of A Aᵀ: condition {condition:.1e}"
            )
        return factor, scale


def _arrays(found: Projector) -> Arrays:
    """A projector as arrays."""
    name, basis = ("null", found.null) if found.null is not None else ("row", found.row)
    assert basis is not None
    return {"read": found.read.numpy(), name: basis.numpy(), "certificate": packed(found.certificate.to_dict())}


def _restored(operator: LinearMap, arrays: Arrays) -> Projector:
    """The projector that ``_arrays`` was given."""
    bases = {name: torch.from_numpy(arrays[name]) for name in ("null", "row") if name in arrays}
    certificate = Certificate(**unpacked(arrays["certificate"]))
    both = bases.get("null"), bases.get("row")
    return Projector(operator.in_dim, torch.from_numpy(arrays["read"]), lambda: both, certificate)
