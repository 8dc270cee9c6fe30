"""Orthonormal bases of a matrix's nullspace or row space, and the projector they make."""

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
from ..rank.modular_elimination import exact_rank
from .svd import Spectrum, spectrum

CANCELLED = 0.1
"""Where less than this share of a vector is left, rounding of the lost part shows and is taken out again."""

PASSES = 4
"""Refinement steps at most; each takes the residual A N out of the basis N with the matrix itself."""


Factors = Callable[[], Sequence[scipy.sparse.csr_array]]


@dataclass(frozen=True)
class Projector:
    """The orthogonal projector onto a nullspace, by whichever basis is the smaller.

    Attributes:
        size: n, the number of input values.
        read: the input values that the matrix reads at all, int64 ``(r,)``; the others are free.
        null: orthonormal basis of the nullspace among the values read, ``(r, dim)``; None where ``row`` is smaller.
        row: orthonormal basis of the row space among them, ``(r, rank)``; None where ``null`` is smaller.
        certificate: of the rank.
    """

    size: int
    read: Tensor
    null: Tensor | None
    row: Tensor | None
    certificate: Certificate
    _casts: dict[tuple[torch.dtype, torch.device], Tensor] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def all_read(self) -> bool:
        """Whether no input value is free."""
        return len(self.read) == self.size

    @property
    def dim(self) -> int:
        """Dimension of the nullspace."""
        return self.size - self.certificate.rank

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


def projector(matrix: scipy.sparse.csr_array, factors: Factors | None = None) -> Projector:
    """The projector onto the nullspace of a matrix.

    Zero rows say nothing and columns of zeros are free; both are set aside, exactly, before any rank is judged.
    A rank that σ alone cannot prove is worked out over the rationals too, where that is within its limits.

    Args:
        matrix: A, ``(m, n)``, float64.
        factors: gives matrices of which A is the product to rounding, first applied first; the rank over the
            rationals is theirs. A's own if None.
    """
    matrix = scipy.sparse.csr_array(matrix)
    size = int(matrix.shape[1])
    pattern = matrix.astype(bool)
    read = np.flatnonzero(np.asarray(pattern.sum(0)).ravel())
    rows = np.flatnonzero(np.asarray(pattern.sum(1)).ravel())
    if not len(read):
        nothing = judge(np.empty(0), (0, 0), "no weight is non-zero")
        empty = torch.empty(0, 0, dtype=torch.float64)
        return Projector(size, torch.empty(0, dtype=torch.int64), empty, None, nothing)
    a = matrix[rows][:, read].toarray()
    scale = 2.0 ** np.floor(np.log2(np.abs(a).max()))  # exact, and keeps squares of tiny or huge weights in range
    a = a / scale
    known = spectrum(a)
    certificate = known.certificate.scaled(float(scale))
    if certificate.kind != "exact":
        with suppress(TooLargeError):
            certificate = confirmed(certificate, exact_rank(*(factors() if factors else [matrix])))
    rank = certificate.rank
    null = row = None
    if 2 * (len(read) - rank) <= rank:  # the row space takes no refinement, so null must be clearly smaller
        null = torch.from_numpy(_null_basis(a, known))
    else:
        row = torch.from_numpy(_orthonormal(np.hstack([known.strong_rows(), known.weak])))
    return Projector(size, torch.from_numpy(read), null, row, certificate)


def _null_basis(a: np.ndarray, known: Spectrum) -> np.ndarray:
    """An orthonormal basis of the nullspace: x ← x − A⁺ A x until ‖A x‖ no longer falls."""
    x = known.null
    if x is None:
        x = np.random.default_rng(0).standard_normal((a.shape[1], a.shape[1] - known.certificate.rank))
    best = np.inf
    for _ in range(PASSES if x.size else 0):
        x = x - known.weak @ (known.weak.T @ x)
        x = _orthonormal(x - known.strong_pinv(a @ x))
        residual = float(np.abs(a @ x).max())
        if residual > best / 2:
            break
        best = residual
    return x


def _twice_if_needed(reject: Callable[[Tensor], Tensor], x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """x less its part in the row space; once more where that was nearly all of x and its rounding is left.

    "Twice is enough" (Kahan; Parlett, The Symmetric Eigenvalue Problem, section 6.9).
    """
    y = reject(x)
    if bool((torch.linalg.vector_norm(y, dim=axes) < CANCELLED * torch.linalg.vector_norm(x, dim=axes)).any()):
        y = reject(y)
    return y


def _orthonormal(x: np.ndarray) -> np.ndarray:
    """Orthonormal columns with the span of x's: Cholesky QR, twice; Householder's where x is too ill-conditioned.

    Cholesky QR is matrix products alone, several times faster; its loss of orthogonality, cond(x)²·ε, must be
    small enough for the second round to mend.
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
