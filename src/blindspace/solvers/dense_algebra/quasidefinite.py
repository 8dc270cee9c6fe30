"""Quasi-definite matrices, solved by the inverse of their Cholesky factor.

M = [P, Qᴴ; Q, −R] with P and its complement R + Q P⁻¹ Qᴴ positive definite has a factorisation M = L J Lᴴ without
pivoting, J = diag(1, −1); Vanderbei 1995. Kept is G = L⁻¹, so that M⁻¹ = Gᴴ J G: products are quicker than
triangular solutions, and lose only cond(L) = √cond(M) of the digits, where M⁻¹ itself would lose cond(M); Du Croz &
Higham 1992.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UnsupportedLayerError

ROWS = 96  # Rows of a panel: few enough for it to stay in the cache between two products
SMALL = 256  # Side up to which a triangular matrix is inverted by substitution


class QuasidefiniteInverse:
    """M⁻¹ of a real M by the lower half of G, in panels of a few rows.

    Args:
        size: Rows n of M.
        positive: Rows of P.
        entries: The panels one after the other, ``(stored,)``, as ``lower_panels`` returns them.
    """

    def __init__(self, size: int, positive: int, entries: Tensor) -> None:
        self.size, self.positive, self.entries = size, positive, entries
        sides = _panels(size)
        parts = entries.split([(end - start) * end for start, end in sides])
        self._panels = [(side, part.view(-1, side[1])) for side, part in zip(sides, parts, strict=True)]

    def to(self, dtype: torch.dtype) -> QuasidefiniteInverse:
        """The same in another precision."""
        return QuasidefiniteInverse(self.size, self.positive, self.entries.to(dtype))

    def __matmul__(self, r: Tensor) -> Tensor:
        """M⁻¹ r of columns ``(n, B)``."""
        # Products take about half as long with columns that lie one after the other in memory; a vector has a routine.
        r = r[:, 0] if r.shape[1] == 1 else r.mT.contiguous()
        e = torch.zeros_like(r)
        signs = torch.where(torch.arange(self.size) < self.positive, 1, -1).to(r.dtype)
        for (start, end), panel in self._panels:  # each is read from memory once for both products
            if r.ndim == 1:
                e[:end].addmv_(panel.mT, torch.mv(panel, r[:end]) * signs[start:end])
            else:
                e[:, :end].addmm_((r[:, :end] @ panel.mT) * signs[start:end], panel)
        return e[:, None] if e.ndim == 1 else e.mT


def _panels(size: int) -> list[tuple[int, int]]:
    """First row, and the row after the last, of every panel."""
    return [(start, min(start + ROWS, size)) for start in range(0, size, ROWS)]


def lower_panels(matrix: Tensor) -> Tensor:
    """The lower half of a matrix ``(n, n)``, as panels of rows, the form that ``QuasidefiniteInverse`` takes."""
    sides = _panels(len(matrix))
    entries = matrix.new_empty(sum((end - start) * end for start, end in sides))
    for (start, end), panel in zip(sides, entries.split([(b - a) * b for a, b in sides]), strict=True):
        panel.view(-1, end).copy_(matrix[start:end, :end])
    return entries


def inverse_factor(matrix: Tensor, positive: int) -> tuple[Tensor, list[Tensor]]:
    """G with M⁻¹ = Gᴴ J G, in place of M, and the squared pivots of P and of its complement.

    That both Cholesky factorisations succeed proves that M has exactly as many positive eigenvalues as P has rows.

    Args:
        matrix: M, one matrix ``(n, n)`` or several ``(…, n, n)``, real or complex, of which the lower half is read.
            Overwritten.
        positive: Rows of P.

    Raises:
        UnsupportedLayerError: P or its complement is not positive definite.
    """
    p, q, r = matrix[..., :positive, :positive], matrix[..., positive:, :positive], matrix[..., positive:, positive:]
    lower = _cholesky(p)
    p.copy_(lower)
    x = torch.linalg.solve_triangular(lower, q.mH, upper=False)
    del lower
    complement = _cholesky((x.mH @ x).sub_(r))
    r.copy_(complement)
    del complement
    pivots = [part.diagonal(dim1=-2, dim2=-1).abs() ** 2 for part in (p, r)]
    q.copy_(x.mH)
    del x
    matrix[..., :positive, positive:] = 0
    _invert_lower(matrix)
    return matrix, pivots


def inverse_of(factor: Tensor, positive: int) -> Tensor:
    """M⁻¹ = Gᴴ J G itself, ``(…, n, n)``, of G as ``inverse_factor`` returns it.

    Args:
        factor: G, ``(…, n, n)``.
        positive: Rows of P.
    """
    signed = factor.mH.resolve_conj().contiguous()
    signed[..., positive:] *= -1
    return signed @ factor


def _invert_lower(matrix: Tensor) -> None:
    """Inverts a lower triangular matrix in place, by halves."""
    size = matrix.shape[-1]
    if size <= SMALL:
        eye = torch.eye(size, dtype=matrix.dtype).expand(matrix.shape)
        matrix.copy_(torch.linalg.solve_triangular(matrix, eye, upper=False))
        return
    half = size // 2
    upper, lower, below = matrix[..., :half, :half], matrix[..., half:, half:], matrix[..., half:, :half]
    _invert_lower(upper)
    _invert_lower(lower)
    torch.matmul(lower, below @ upper, out=below)
    below.neg_()


def _cholesky(matrix: Tensor) -> Tensor:
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise UnsupportedLayerError("it does not have full row rank to working precision")
    return factor
