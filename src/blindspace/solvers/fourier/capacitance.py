"""The capacitance system, by which the inverse of the circulant embedding becomes exact at the boundary.

Known as the capacitance matrix method (Buzbee, Dorr, George & Golub 1971), a use of the Woodbury identity. With
K = C Cᵀ of the embedding, Z the surplus rows and F the padding columns,

    A Aᵀ u = b   ⟺   Sᵀu = v = K⁻¹ (Sᵀb + Zᵀg + C_F f),   v_Z = 0,   f = C_Fᵀ v,

so only g and f are left to be found. Their system M = [K⁻¹_ZZ, (K⁻¹C)_ZF; …ᵀ, (CᵀK⁻¹C)_FF − 1] is solved in one of two
ways: factored as a whole, or, if it is too large for that, by an iteration whose memory grows no faster than the image.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from math import prod
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...errors import UnsupportedLayerError
from ..dense_algebra.gmres import gmres
from ..factor_cache import kept
from .circulant_embedding import WORST, CirculantEmbedding, multiply, unravel

VERSION = 2  # Version of the factors on disk, increased whenever they change
ROUNDING = 100.0  # Factor by which each pivot of the capacitance matrix must exceed ε cond(K)
PROOF = "Cholesky of the capacitance matrix in Fourier space"  # What proves full row rank
COLUMNS = 1024  # Columns of a symmetric product computed at a time
WINDOW = 3000  # Largest number of unknowns in the window around a corner
CORE = 0.6  # Share of the window's reach up to which the window's own solution is better than that of the strips
ITERATIONS = 60  # Largest number of iterations for the boundary unknowns; refinement continues from there


class CapacitanceSystem:
    """The capacitance matrix M of an embedding, applied without being formed; subclasses solve with it.

    Args:
        embedding: The circulant embedding of A.
        inverse: K̂⁻¹, ``(frequencies, p, p)``.

    Attributes:
        proof: What proves that A has full row rank; None if nothing does.
    """

    proof: str | None

    def __init__(self, embedding: CirculantEmbedding, inverse: Tensor) -> None:
        self.embedding, self.inverse = embedding, inverse
        self.z, self.f = embedding.rows.unknowns, embedding.columns.unknowns

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, sharing what needs no copy."""
        other = copy(self)
        other.embedding, other.inverse = self.embedding.to(dtype), self.inverse.to(dtype.to_complex())
        return other

    def gram_inverse(self, b: Tensor, share: float) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, *out_shape)``, with the capacitance system solved up to a share of its residual."""
        v = multiply(self.inverse, self.embedding.transform(self.embedding.rows.embed(b)))
        r = -self.collect(v)
        e = self.solve(r, max(share, torch.finfo(b.dtype).eps) * r.norm(dim=0))
        v = v + multiply(self.inverse, self.spread(e))
        return self.embedding.rows.extract(self.embedding.inverse_transform(v))

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``, up to residuals of norms ``(B,)``."""
        raise NotImplementedError

    def spread(self, e: Tensor) -> Tensor:
        """Zᵀg + C_F f in Fourier space, of e = [g; f], ``(z + f, B)``."""
        embedding = self.embedding
        g = embedding.transform(embedding.rows.write_boundary(e[: self.z]))
        f = embedding.transform(embedding.columns.write_boundary(e[self.z :]))
        return g + multiply(embedding.symbol, f)

    def collect(self, v: Tensor) -> Tensor:
        """[v_Z; C_Fᵀ v], ``(z + f, B)``, of v in Fourier space."""
        embedding = self.embedding
        z = embedding.rows.read_boundary(embedding.inverse_transform(v))
        adjoint = embedding.inverse_transform(multiply(embedding.symbol_adjoint, v))
        return torch.cat([z, embedding.columns.read_boundary(adjoint)])

    def apply(self, e: Tensor) -> Tensor:
        """M e, ``(z + f, B)``."""
        image = self.collect(multiply(self.inverse, self.spread(e)))
        image[self.z :] -= e[self.z :]
        return image

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries of M at all channels of boundary places, given by ascending indices, those of Z before those of F."""
        embedding, surplus = self.embedding, len(self.embedding.rows.boundary)
        inner = self.inverse @ embedding.symbol
        operators = [[self.inverse, inner], [inner.mH, embedding.symbol_adjoint @ inner]]
        ends = embedding.rows, embedding.columns
        split = [[s[s < surplus], s[s >= surplus] - surplus] for s in (rows, columns)]
        parts = [
            [
                embedding.entries(operators[i][j], a.boundary[split[0][i]], b.boundary[split[1][j]], (a, b))
                for j, b in enumerate(ends)
            ]
            for i, a in enumerate(ends)
        ]
        both = (split[0][1][:, None] == split[1][1]).nonzero()
        channels = torch.arange(embedding.columns.shape[0])
        at = [(index[:, None] * len(channels) + channels).flatten() for index in both.T]
        parts[1][1][at[0], at[1]] -= 1
        return torch.cat([torch.cat(row, 1) for row in parts])


class DirectCapacitance(CapacitanceSystem):
    """The capacitance matrix factored once as a whole; the factors are kept on disk if that took long.

    It splits into two positive definite systems, the second of which is positive definite exactly if A Aᵀ is: its
    Cholesky factorisation proves full row rank. All of it is computed in torch, as the threads of two libraries would
    wait for each other.

    Args:
        embedding: The circulant embedding of A.
        inverse: K̂⁻¹, ``(frequencies, p, p)``.
        precision: The dtype to factor in; single takes half the bytes, and its pivots may prove less.

    Raises:
        UnsupportedLayerError: A does not have full row rank to working precision.
    """

    def __init__(self, embedding: CirculantEmbedding, inverse: Tensor, precision: torch.dtype = torch.float64) -> None:
        super().__init__(embedding, inverse)
        self.precision = precision
        made_from = {
            "solver": "fourier",
            "version": VERSION,
            "map": embedding.operator,
            "grid": embedding.grid,
            "precision": str(precision),
        }
        self.factors = {name: torch.from_numpy(factor) for name, factor in kept(made_from, self._factor).items()}
        self.proof = PROOF if all(self._proved(self.factors[name]) for name in ("z_factor", "f_factor")) else None

    @staticmethod
    def memory(embedding: CirculantEmbedding, precision: torch.dtype = torch.float64) -> int:
        """Bytes kept, those of the copy in single precision included, and about what is taken at the peak besides."""
        z, f = embedding.rows.unknowns, embedding.columns.unknowns
        return (12 if precision == torch.float64 else 4) * (z * z + z * f + f * f) + 6 * embedding.symbol.nbytes

    def _factor(self) -> dict[str, np.ndarray]:
        embedding, dtype = self.embedding, self.precision.to_complex()
        rows, columns = embedding.rows, embedding.columns
        surplus, border = rows.boundary, columns.boundary
        z_factor = self._cholesky(embedding.entries(self.inverse.to(dtype), surplus, surplus, (rows, rows)))
        inner = self.inverse @ embedding.symbol
        # Gathered transposed: the solve then works in place.
        coupling = embedding.entries(inner.to(dtype).mH, border, surplus, (columns, rows)).mT
        if self.z and self.f:
            torch.linalg.solve_triangular(z_factor, coupling, upper=False, out=coupling)
        outer = (embedding.symbol_adjoint @ inner).to(dtype)
        del inner
        ff = embedding.entries(outer, border, border, (columns, columns)).neg_()
        del outer
        for start in range(0, self.f, COLUMNS):  # the lower half alone
            some = coupling[:, start : start + COLUMNS]
            ff[start:, start : start + COLUMNS].addmm_(coupling[:, start:].mT, some)
        ff.diagonal().add_(1)
        factors = {"z_factor": z_factor, "coupling": coupling, "f_factor": self._cholesky(ff)}
        return {name: factor.numpy() for name, factor in factors.items()}

    def _cholesky(self, matrix: Tensor) -> Tensor:
        """The lower Cholesky factor, stored row by row in place of the matrix, of which the lower half is read."""
        if not matrix.numel():
            return matrix
        failed = torch.empty(0, dtype=torch.int32)
        torch.linalg.cholesky_ex(matrix.mT, upper=True, out=(matrix.mT, failed))
        if int(failed) or (self.precision == torch.float64 and not self._proved(matrix)):
            raise UnsupportedLayerError("it does not have full row rank to working precision")
        return matrix

    def _proved(self, factor: Tensor) -> bool:
        """Whether the pivots exceed the rounding errors of the entries, which are those of K⁻¹."""
        if not factor.numel():
            return True
        pivots, values = factor.diagonal() ** 2, self.embedding.gram_values
        rounding = ROUNDING * torch.finfo(self.precision).eps * float(values.max() / values.min())
        return float(pivots.min()) > max(WORST, rounding) * float(pivots.max())

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, factors included."""
        other = super().to(dtype)
        other.factors = {name: factor.to(dtype) for name, factor in self.factors.items()}
        return other

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r by the factors, to rounding; the tolerance does not matter."""
        z_factor, coupling, f_factor = (self.factors[name] for name in ("z_factor", "coupling", "f_factor"))
        y = _solve(z_factor, r[: self.z])
        f = _solve(f_factor.mT, _solve(f_factor, coupling.mT @ y - r[self.z :]))
        g = _solve(z_factor.mT, y - coupling @ f)
        return torch.cat([g, f])


class IterativeCapacitance(CapacitanceSystem):
    """The capacitance system solved by preconditioned GMRES, if it is too large to be factored.

    The boundary unknowns outside the image along one axis form a strip around the other axes, on which M is block
    circulant and inverts frequency by frequency; only where two strips cross, at the corner, a window is factored.
    Memory and time grow as the image's side, nothing as its cube. But no Cholesky factorisation proves the rank.

    Args:
        embedding: The circulant embedding of A.
        inverse: K̂⁻¹, ``(frequencies, p, p)``.
        window: Largest number of unknowns in the window around a corner.
        limit: Largest number of iterations.

    Raises:
        UnsupportedLayerError: A strip or the corner is singular.
    """

    proof = None

    def __init__(
        self, embedding: CirculantEmbedding, inverse: Tensor, window: int = WINDOW, limit: int = ITERATIONS
    ) -> None:
        super().__init__(embedding, inverse)
        ends, axes = (embedding.rows, embedding.columns), range(len(embedding.grid))
        self._outside = [torch.cat([end.outside(axis) for end in ends]) for axis in axes]
        self.strips = [self._strip(axis) for axis in axes if bool(self._outside[axis].any())]
        self.limit, self.iterations, self.solved = limit, 0, True
        self.window_inverse: Tensor
        self._set_window(window)

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, the preconditioner included."""
        other = super().to(dtype)
        other.strips = [(unknowns, inverse.to(dtype.to_complex()), around) for unknowns, inverse, around in self.strips]
        other.window_inverse = self.window_inverse.to(dtype)
        return other

    @cached_property
    def _position(self) -> list[Tensor]:
        """Coordinates of every boundary place on the grid, one tensor per axis."""
        flat = torch.cat([self.embedding.rows.boundary, self.embedding.columns.boundary]) % prod(self.embedding.grid)
        return unravel(flat, self.embedding.grid)

    @cached_property
    def _channels(self) -> Tensor:
        """Number of unknowns at every boundary place."""
        ends = self.embedding.rows, self.embedding.columns
        return torch.cat([torch.full_like(end.boundary, end.shape[0]) for end in ends])

    def _indices(self, places: Tensor) -> Tensor:
        """Indices into e of the unknowns at places, in the order given, channels fastest."""
        channels = self._channels[places]
        first = (self._channels.cumsum(0) - self._channels)[places]
        return (first - channels.cumsum(0) + channels).repeat_interleave(channels) + torch.arange(int(channels.sum()))

    def _strip(self, axis: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The unknowns of an axis's strip, ``(cells, d)``, M⁻¹ on it, ``(frequencies, d, d)``, and its grid."""
        places = self._outside[axis].nonzero().flatten()
        others = [a for a in range(len(self.embedding.grid)) if a != axis]
        around = tuple(self.embedding.grid[a] for a in others)
        cell = torch.zeros_like(places)
        for a, m in zip(others, around, strict=True):
            cell = cell * m + self._position[a][places]
        first = places[cell == 0]
        column = self.block(places, first)
        # The unknowns of all places in the order of the block, sorted into cells, each of which lists them alike.
        unknowns = self._indices(places)
        order = torch.repeat_interleave(cell, self._channels[places]).argsort(stable=True)
        cells = max(prod(around), 1)
        d = len(order) // cells
        blocks = column[order].reshape(*around, d, d) if around else column[order].reshape(1, d, d)
        axes = tuple(range(max(len(around), 1)))
        spectrum = torch.fft.rfftn(blocks, dim=axes).reshape(-1, d, d)
        return unknowns[order].reshape(cells, d), torch.linalg.inv(spectrum), around or (1,)

    def _set_window(self, most: int) -> None:
        """The largest window around the crossing of two strips, and its inner part, whose values are taken from it."""
        away = []
        for axis, m in enumerate(self.embedding.grid):
            strip = torch.unique(self._position[axis][self._outside[axis]])
            gap = (self._position[axis][:, None] - strip).abs() if len(strip) else torch.full((1, 1), m)
            away.append(torch.minimum(gap, m - gap).amin(1).expand(len(self._position[axis])))
        crossing = torch.stack(away).sort(0).values[1] if len(away) > 1 else torch.full_like(away[0], 1 << 30)
        widths = range(max(self.embedding.grid))
        reach = max((w for w in widths if int(self._channels[crossing <= w].sum()) <= most), default=-1)
        window = (crossing <= reach).nonzero().flatten()
        self.window = self._indices(window)
        inner = (crossing <= reach * CORE).nonzero().flatten()
        self.inner = torch.isin(self.window, self._indices(inner))
        self.window_inverse = torch.linalg.inv(self.block(window, window)) if len(window) else torch.empty(0, 0)

    def precondition(self, r: Tensor) -> Tensor:
        """An approximation of M⁻¹ r: each strip by itself, and the corner by itself."""
        e = torch.zeros_like(r)
        for unknowns, inverse, around in self.strips:
            values = r[unknowns.flatten()].reshape(*around, -1, r.shape[1])
            axes = tuple(range(len(around)))
            spectrum = torch.fft.rfftn(values, dim=axes)
            turned = torch.bmm(inverse, spectrum.reshape(-1, *spectrum.shape[-2:])).reshape(spectrum.shape)
            e[unknowns.flatten()] = torch.fft.irfftn(turned, s=around, dim=axes).reshape(-1, r.shape[1])
        if len(self.window):
            e[self.window[self.inner]] = (self.window_inverse @ r[self.window])[self.inner]
        return e

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, or what the last iteration allowed has found of it; then ``solved`` is False."""
        e, self.iterations = gmres(self.apply, self.precondition, r, tolerance, self.limit)
        self.solved = self.iterations < self.limit
        return e


def _solve(factor: Tensor, y: Tensor) -> Tensor:
    """Solution of a triangular system: lower if stored row by row, upper if it is the transpose of one that is."""
    result: Tensor = torch.linalg.solve_triangular(factor, y, upper=not factor.is_contiguous())
    return result
