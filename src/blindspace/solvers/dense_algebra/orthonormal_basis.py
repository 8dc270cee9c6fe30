"""Orthonormal bases of a matrix's nullspace or row space, and the projector that they make.

The bases come from ``svd.py``, are refined with the matrix itself and orthonormalised by Cholesky QR, twice (Yamamoto,
Nakatsukasa, Yanagisawa & Fukaya 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from torch import Tensor

from ...errors import TooLargeError
from ..rank.certificate import Certificate, confirmed, judge
from ..rank.modular_elimination import ModularRank, exact_rank
from .products import power_of_two
from .svd import SVD_LIMIT, Spectrum, spectrum

CANCELLED = 0.1
"""Share of a vector below which what is left of it shows the rounding of the removed part, which is removed again."""

PASSES = 4  # Largest number of refinement steps; each removes the residual A N from the basis N with the matrix itself

Factors = Callable[[], Sequence[scipy.sparse.csr_array]]


@dataclass(frozen=True)
class Projector:
    """The orthogonal projector onto a nullspace, by whichever basis is the smaller.

    Attributes:
        size: Number n of input values.
        read: Indices of the input values that the matrix reads at all, int64 ``(r,)``; the others are free.
        bases: Returns ``null`` and ``row``; called when one is first needed, as the certificate alone takes less.
        certificate: What is known of the rank.
    """

    size: int
    read: Tensor
    bases: Callable[[], tuple[Tensor | None, Tensor | None]]
    certificate: Certificate
    _casts: dict[tuple[torch.dtype, torch.device], Tensor] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _both(self) -> tuple[Tensor | None, Tensor | None]:
        made = self.bases()
        object.__setattr__(self, "bases", lambda: made)  # lets go of the matrix
        return made

    @property
    def null(self) -> Tensor | None:
        """Orthonormal basis of the nullspace among the values read, ``(r, dim)``; None if ``row`` is smaller."""
        return self._both[0]

    @property
    def row(self) -> Tensor | None:
        """Orthonormal basis of the row space among them, ``(r, rank)``; None if ``null`` is smaller."""
        return self._both[1]

    @cached_property
    def all_read(self) -> bool:
        """Whether no input value is free."""
        return len(self.read) == self.size

    @property
    def dim(self) -> int:
        """Dimension of the nullspace."""
        return self.size - self.certificate.rank

    def diagonal(self) -> Tensor:
        """The diagonal of P, ``(n,)``, float64."""
        basis = self._basis(torch.float64, torch.device("cpu"))
        squares = basis.square().sum(1)
        found = torch.ones(self.size, dtype=torch.float64)
        found[self.read] = squares if self.null is not None else 1 - squares
        return found

    def rows(self, x: Tensor) -> Tensor:
        """P x of rows ``(…, n)``, in their dtype."""
        if not self.all_read:
            y = x.clone()
            y[..., self.read] = self._rows(x[..., self.read])
            return y
        return self._rows(x)

    def columns(self, x: Tensor) -> Tensor:
        """P x of columns ``(B, n, k)``, in their dtype."""
        if not self.all_read:
            y = x.clone()
            y[:, self.read] = self._columns(x[:, self.read])
            return y
        return self._columns(x)

    def _rows(self, x: Tensor) -> Tensor:
        basis = self._basis(x.dtype, x.device)
        if self.null is not None:
            return (x @ basis) @ basis.T
        flat = x.reshape(x.shape[:-1].numel(), x.shape[-1])
        return _twice_if_needed(lambda v: torch.addmm(v, v @ basis, basis.T, alpha=-1), flat, 1).reshape(x.shape)

    def _columns(self, x: Tensor) -> Tensor:
        basis = self._basis(x.dtype, x.device).expand(len(x), -1, -1)
        if self.null is not None:
            return basis @ (basis.mT @ x)
        return _twice_if_needed(lambda v: torch.baddbmm(v, basis, basis.mT @ v, alpha=-1), x, (1, 2))

    def _basis(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        key = (dtype, device)
        if key not in self._casts:
            basis = self.null if self.null is not None else self.row
            assert basis is not None
            self._casts[key] = basis.to(device, dtype)
        return self._casts[key]


def projector(
    matrix: scipy.sparse.csr_array | np.ndarray,
    factors: Factors | None = None,
    svd_limit: int = SVD_LIMIT,
    prove: Callable[..., ModularRank] = exact_rank,
) -> Projector:
    """The projector onto the nullspace of a matrix.

    Zero rows carry no information and the inputs of zero columns are free; both are set aside, exactly, before any
    rank is judged. A rank that σ alone cannot prove is also determined over the rationals, within the limits of that.

    Args:
        matrix: The matrix A, ``(m, n)``, float64, sparse or dense.
        factors: Returns matrices whose product is A up to rounding, in the order in which they are applied; the rank
            over the rationals is theirs. None for A itself.
        svd_limit: Size of the smaller side up to which LAPACK's SVD is used.
        prove: Determines the rank over the rationals; raises ``TooLargeError`` if that would take too much.
    """
    size = int(matrix.shape[1])
    nonzero = matrix != 0
    dense = isinstance(nonzero, np.ndarray)
    read, rows = (np.flatnonzero(nonzero.any(axis) if dense else nonzero.sum(axis)) for axis in (0, 1))
    if not len(read):
        nothing = judge(np.empty(0), (0, 0), "all weights are 0")
        empty = torch.empty(0, 0, dtype=torch.float64)
        return Projector(size, torch.empty(0, dtype=torch.int64), lambda: (empty, None), nothing)
    a = matrix if (len(rows), len(read)) == matrix.shape else matrix[rows][:, read]
    a = a if isinstance(a, np.ndarray) else a.toarray()
    scale = power_of_two(float(np.abs(a).max()))
    a = a / scale
    known = spectrum(a, svd_limit)
    certificate = known.certificate.scaled(scale)
    if certificate.kind != "exact":
        with suppress(TooLargeError):
            certificate = confirmed(certificate, prove(*(factors() if factors else [matrix])))
    rank = certificate.rank

    def bases() -> tuple[Tensor | None, Tensor | None]:
        if 2 * (len(read) - rank) <= rank:  # the row space takes no refinement, so null must be clearly smaller
            return torch.from_numpy(_null_basis(a, known)), None
        return None, torch.from_numpy(orthonormal(np.hstack([known.strong_rows(), known.weak])))

    found = Projector(size, torch.from_numpy(read), bases, certificate)
    if rank == len(read):
        found.null  # noqa: B018 - nothing is computed, and the matrix need not be kept
    return found


def _null_basis(a: np.ndarray, known: Spectrum) -> np.ndarray:
    """An orthonormal basis of the nullspace: x ← x − A⁺ A x until ‖A x‖ no longer falls."""
    x = known.null
    if x is None:
        x = np.random.default_rng(0).standard_normal((a.shape[1], a.shape[1] - known.certificate.rank))
    best = np.inf
    for _ in range(PASSES if x.size else 0):
        x = x - known.weak @ (known.weak.T @ x)
        x = orthonormal(x - known.strong_pinv(a @ x))
        residual = float(np.abs(a @ x).max())
        if residual > best / 2:
            break
        best = residual
    return x


def _twice_if_needed(reject: Callable[[Tensor], Tensor], x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """x minus its part in the row space; if nearly all of x is, again: "twice is enough" (Parlett, section 6.9)."""
    y = reject(x)
    if bool((torch.linalg.vector_norm(y, dim=axes) < CANCELLED * torch.linalg.vector_norm(x, dim=axes)).any()):
        y = reject(y)
    return y


def orthonormal(x: np.ndarray) -> np.ndarray:
    """Orthonormal columns with the span of those of x, by Cholesky QR, twice; by Householder if x is ill-conditioned.

    Cholesky QR is matrix products alone, several times faster; its loss of orthogonality, cond(x)²·ε, must be small
    enough for the second round to repair.
    """
    once = x / np.linalg.norm(x, axis=0)
    for _ in range(2):
        try:
            factor = np.linalg.cholesky(once.T @ once)
        except np.linalg.LinAlgError:
            return np.linalg.qr(x)[0]
        if factor.diagonal().min() < 1e-5:
            return np.linalg.qr(x)[0]
        once = scipy.linalg.solve_triangular(factor, once.T, lower=True, check_finite=False).T
    return np.ascontiguousarray(once)


def cholesky_qr(rows: Tensor) -> Tensor:
    """Orthonormal rows with the span of well-conditioned rows ``(k, n)``: one round of Cholesky QR.

    The loss of orthogonality is cond² ε, which another round repairs.
    """
    factor = torch.linalg.cholesky(rows @ rows.mT)
    result: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
    return result
