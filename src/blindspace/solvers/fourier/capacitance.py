"""What makes the circular inverse exact: the values on the edges, from one system.

With K = C Cᵀ of the torus, Z the surplus rows and F the padding columns,

    A Aᵀ u = b   ⟺   Sᵀu = v = K⁻¹ (Sᵀb + Zᵀg + C_F f),   v_Z = 0,   f = C_Fᵀ v      (Woodbury; capacitance)

so only g and f are left to be found. Their system M = [K⁻¹_ZZ, (K⁻¹C)_ZF; …ᵀ, (CᵀK⁻¹C)_FF − 1] is solved in one of two
ways: factored whole, or, where it is too large for that, by an iteration in which nothing grows faster than the image.
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ..factor_cache.store import kept
from .circulant_embedding import WORST, CirculantEmbedding, Lattice, Sites, multiply

VERSION = 2
"""Of the factors; one more whenever they change."""

ROUNDING = 100.0
"""How far above ε cond(K) each pivot of the edge system must stand."""

PROOF = "Cholesky of the edge system in Fourier space"
"""Of full row rank."""

COLUMNS = 1024
"""Of a symmetric product made at a time."""


class CapacitanceSystem:
    """The edge system M of a torus, applied without being formed; ``solve`` is left to those below.

    Args:
        torus: of A.
        inverse: K̂⁻¹, ``(frequencies, p, p)``.

    Attributes:
        proof: what proves A to have full row rank, None where nothing does.
    """

    proof: str | None

    def __init__(self, torus: CirculantEmbedding, inverse: Tensor) -> None:
        self.torus, self.inverse = torus, inverse
        self.z = len(torus.rows.missing.position) * torus.rows.shape[0]
        self.f = len(torus.columns.missing.position) * torus.columns.shape[0]

    def to(self, dtype: torch.dtype) -> Self:
        """The same in that precision, sharing what needs no copy."""
        other = copy(self)
        other.torus, other.inverse = self.torus.to(dtype), self.inverse.to(dtype.to_complex())
        return other

    def gram_inverse(self, b: Tensor, share: float) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)`` in the precision of the edges, their system to a residual of that share."""
        v = multiply(self.inverse, self.torus.transform(self.torus.rows.embed(b)))
        r = -self.collect(v)
        e = self.solve(r, max(share, torch.finfo(b.dtype).eps) * r.norm(dim=0))
        v = v + multiply(self.inverse, self.spread(e))
        return self.torus.rows.extract(self.torus.back(v))

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``, to within a residual ``(B,)``."""
        raise NotImplementedError

    def spread(self, e: Tensor) -> Tensor:
        """Zᵀg + C_F f in Fourier space, of e = [g; f], ``(z + f, B)``."""
        torus = self.torus
        g = torus.transform(torus.rows.write(e[: self.z]))
        return g + multiply(torus.symbol, torus.transform(torus.columns.write(e[self.z :])))

    def collect(self, v: Tensor) -> Tensor:
        """[v_Z; C_Fᵀ v], ``(z + f, B)``, of v in Fourier space."""
        torus = self.torus
        z = torus.rows.read(torus.back(v))
        return torch.cat([z, torus.columns.read(torus.back(multiply(torus.symbol_adjoint, v)))])

    def apply(self, e: Tensor) -> Tensor:
        """M e, ``(z + f, B)``."""
        image = self.collect(multiply(self.inverse, self.spread(e)))
        image[self.z :] -= e[self.z :]
        return image

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries of M, whole sites at a time.

        Args:
            rows: indices among the missing sites, those of Z first, then those of F, ascending.
            columns: the same.
        """
        torus, surplus = self.torus, len(self.torus.rows.missing.position)
        inner = self.inverse @ torus.symbol
        operators = [[self.inverse, inner], [inner.mH, torus.symbol_adjoint @ inner]]
        lattices = torus.rows, torus.columns
        split = [[s[s < surplus], s[s >= surplus] - surplus] for s in (rows, columns)]
        parts = [
            [
                torus.entries(operators[i][j], _some(a, split[0][i]), _some(b, split[1][j]), (_phases(a), _phases(b)))
                for j, b in enumerate(lattices)
            ]
            for i, a in enumerate(lattices)
        ]
        both = (split[0][1][:, None] == split[1][1]).nonzero()
        channels = torch.arange(torus.columns.shape[0])
        at = [(index[:, None] * len(channels) + channels).flatten() for index in both.T]
        parts[1][1][at[0], at[1]] -= 1
        return torch.cat([torch.cat(row, 1) for row in parts])


class DirectCapacitance(CapacitanceSystem):
    """M factored whole, once: the factors are kept on disk where that took long.

    All of it in torch, as the threads of two libraries would wait for each other.

    It splits into two positive definite systems, the second one just where A Aᵀ is: its Cholesky proves full row rank.

    Args:
        torus: of A.
        inverse: K̂⁻¹.
        precision: to factor in; single takes half the bytes, and its pivots may prove less.

    Raises:
        UnsupportedLayerError: A has not full row rank to working precision.
    """

    def __init__(self, torus: CirculantEmbedding, inverse: Tensor, precision: torch.dtype = torch.float64) -> None:
        super().__init__(torus, inverse)
        self.precision = precision
        made_from = {
            "solver": "fourier",
            "version": VERSION,
            "map": torus.operator,
            "grid": torus.grid,
            "precision": str(precision),
        }
        self.factors = {name: torch.from_numpy(factor) for name, factor in kept(made_from, self._factor).items()}
        self.proof = PROOF if all(self._proved(self.factors[name]) for name in ("z_factor", "f_factor")) else None

    @staticmethod
    def memory(torus: CirculantEmbedding, precision: torch.dtype = torch.float64) -> int:
        """Bytes kept, those of the copy in single precision too, and about what is taken at the peak besides."""
        z = len(torus.rows.missing.position) * torus.rows.shape[0]
        f = len(torus.columns.missing.position) * torus.columns.shape[0]
        return (12 if precision == torch.float64 else 4) * (z * z + z * f + f * f) + 6 * torus.symbol.nbytes

    def _factor(self) -> dict[str, np.ndarray]:
        torus, dtype = self.torus, self.precision.to_complex()
        surplus, border = torus.rows.missing, torus.columns.missing
        rows, columns = _phases(torus.rows), _phases(torus.columns)
        z_factor = self._cholesky(torus.entries(self.inverse.to(dtype), surplus, surplus, (rows, rows)))
        inner = self.inverse @ torus.symbol
        # Gathered transposed: the solve then works in place.
        coupling = torus.entries(inner.to(dtype).mH, border, surplus, (columns, rows)).mT
        if self.z and self.f:
            torch.linalg.solve_triangular(z_factor, coupling, upper=False, out=coupling)
        outer = (torus.symbol_adjoint @ inner).to(dtype)
        del inner
        ff = torus.entries(outer, border, border, (columns, columns)).neg_()
        del outer
        for start in range(0, self.f, COLUMNS):  # the lower half alone
            some = coupling[:, start : start + COLUMNS]
            ff[start:, start : start + COLUMNS].addmm_(coupling[:, start:].mT, some)
        ff.diagonal().add_(1)
        factors = {"z_factor": z_factor, "coupling": coupling, "f_factor": self._cholesky(ff)}
        return {name: factor.numpy() for name, factor in factors.items()}

    def _cholesky(self, matrix: Tensor) -> Tensor:
        """The lower factor, row by row, in place of the matrix, of which the lower half is read."""
        if not matrix.numel():
            return matrix
        failed = torch.empty(0, dtype=torch.int32)
        torch.linalg.cholesky_ex(matrix.mT, upper=True, out=(matrix.mT, failed))
        if int(failed) or (self.precision == torch.float64 and not self._proved(matrix)):
            raise UnsupportedLayerError("it has not full row rank to working precision")
        return matrix

    def _proved(self, factor: Tensor) -> bool:
        """Whether the pivots are above the rounding of the entries, that of K⁻¹."""
        if not factor.numel():
            return True
        pivots, values = factor.diagonal() ** 2, self.torus.gram_values
        rounding = ROUNDING * torch.finfo(self.precision).eps * float(values.max() / values.min())
        return float(pivots.min()) > max(WORST, rounding) * float(pivots.max())

    def to(self, dtype: torch.dtype) -> Self:
        """As of every edge system."""
        other = super().to(dtype)
        other.factors = {name: factor.to(dtype) for name, factor in self.factors.items()}
        return other

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """As of every edge system; to rounding."""
        z_factor, coupling, f_factor = (self.factors[name] for name in ("z_factor", "coupling", "f_factor"))
        y = _solve(z_factor, r[: self.z])
        f = _solve(f_factor.mT, _solve(f_factor, coupling.mT @ y - r[self.z :]))
        g = _solve(z_factor.mT, y - coupling @ f)
        return torch.cat([g, f])


def _phases(lattice: Lattice) -> int:
    return int(np.prod(lattice.stride))


def _some(lattice: Lattice, index: Tensor) -> Sites:
    return Sites(lattice.missing.position[index], lattice.missing.phase[index])


def _solve(factor: Tensor, y: Tensor) -> Tensor:
    """Of a triangular system: lower where it lies row by row, upper where it is the transpose of one that does."""
    result: Tensor = torch.linalg.solve_triangular(factor, y, upper=not factor.is_contiguous())
    return result
