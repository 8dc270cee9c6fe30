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

SIDE = 512  # Rows and columns of a block: few enough for the cache of a core
SMALL = 256  # Side up to which a triangular matrix is inverted by substitution


class QuasidefiniteInverse:
    """M⁻¹ of a real M by the lower blocks of G, half of what a square array would take.

    Args:
        size: Rows n of M.
        positive: Rows of P.
        entries: The blocks, one row of blocks after the other, ``(stored,)``.
    """

    def __init__(self, size: int, positive: int, entries: Tensor) -> None:
        self.size, self.positive, self.entries = size, positive, entries
        self._blocks: list[tuple[slice, slice, Tensor]] = []
        at = 0
        for rows, columns in _places(size):
            shape = rows.stop - rows.start, columns.stop - columns.start
            self._blocks.append((rows, columns, entries[at : at + shape[0] * shape[1]].view(shape)))
            at += shape[0] * shape[1]

    def to(self, dtype: torch.dtype) -> QuasidefiniteInverse:
        """The same in another precision."""
        return QuasidefiniteInverse(self.size, self.positive, self.entries.to(dtype))

    def __matmul__(self, r: Tensor) -> Tensor:
        """M⁻¹ r of columns ``(n, B)``."""
        # Products take about half as long with columns that lie one after the other in memory; a vector has a routine.
        r = r[:, 0] if r.shape[1] == 1 else r.mT.contiguous()
        y, e = torch.zeros_like(r), torch.zeros_like(r)
        for rows, columns, block in self._blocks:
            _add(y[..., rows], block, r[..., columns])
        y[..., self.positive :].neg_()
        for rows, columns, block in self._blocks:
            _add(e[..., columns], block.mT, y[..., rows])
        return e[:, None] if e.ndim == 1 else e.mT


def _add(y: Tensor, matrix: Tensor, x: Tensor) -> None:
    if x.ndim == 1:
        y.addmv_(matrix, x)
    else:
        y.addmm_(x, matrix.mT)


def _places(size: int) -> list[tuple[slice, slice]]:
    parts = [slice(start, min(start + SIDE, size)) for start in range(0, size, SIDE)]
    return [(rows, columns) for i, rows in enumerate(parts) for columns in parts[: i + 1]]


def lower_blocks(matrix: Tensor) -> Tensor:
    """The lower blocks of a matrix ``(n, n)``, as ``QuasidefiniteInverse`` takes them."""
    places = _places(len(matrix))
    entries = matrix.new_empty(sum((r.stop - r.start) * (c.stop - c.start) for r, c in places))
    at = 0
    for rows, columns in places:
        block = matrix[rows, columns].reshape(-1)
        entries[at : at + len(block)] = block
        at += len(block)
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
