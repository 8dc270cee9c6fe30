"""What makes the circular inverse exact: the values on the edges, from one system.

With K = C Cᵀ of the torus, Z the surplus rows and F the padding columns,

    A Aᵀ u = b   ⟺   Sᵀu = v = K⁻¹ (Sᵀb + Zᵀg + C_F f),   v_Z = 0,   f = C_Fᵀ v      (Woodbury; capacitance)

so only g and f are left to be found. Their system M = [K⁻¹_ZZ, (K⁻¹C)_ZF; …ᵀ, (CᵀK⁻¹C)_FF − 1] is solved in one of two
ways: factored whole, or, where it is too large for that, by an iteration in which nothing grows faster than the image.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from ..errors import UnsupportedLayerError
from .cache import kept
from .gmres import gmres
from .torus import WORST, Lattice, Sites, Torus, multiply

VERSION = 1
"""Of the factors; one more whenever they change."""

WINDOW = 3000
"""Unknowns at most in the window around a corner."""

CORE = 0.6
"""How far into the window, as a share of its reach, its own solution is better than the loops'."""

ROUNDING = 100.0
"""How far above ε cond(K) each pivot of the edge system must stand."""

ITERATIONS = 60
"""Of the iteration on the edges, at most; refinement goes on from there."""


class Edges:
    """The edge system M of a torus, applied without being formed.

    Args:
        torus: of A.
        inverse: K̂⁻¹, ``(frequencies, p, p)``.
    """

    def __init__(self, torus: Torus, inverse: Tensor) -> None:
        self.torus, self.inverse = torus, inverse
        self.z = len(torus.rows.missing.position) * torus.rows.shape[0]
        self.f = len(torus.columns.missing.position) * torus.columns.shape[0]

    def to(self, dtype: torch.dtype) -> None:
        """Keep what is applied in that precision."""
        self.inverse = self.inverse.to(dtype.to_complex())

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

    def block(self, rows: Tensor, columns: Tensor) -> np.ndarray:
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
        channels = np.arange(torus.columns.shape[0])
        at = [(index[:, None].numpy() * len(channels) + channels).ravel() for index in both.T]
        parts[1][1][at[0], at[1]] -= 1
        return np.block(parts)


class DirectEdges(Edges):
    """M factored whole, once: the factors are kept on disk where that took long.

    It splits into two positive definite systems, the second one just where A Aᵀ is: its Cholesky proves full row rank.

    Args:
        torus: of A.
        inverse: K̂⁻¹.

    Raises:
        UnsupportedLayerError: A has not full row rank to working precision.
    """

    proof = "Cholesky of the edge system in Fourier space"

    def __init__(self, torus: Torus, inverse: Tensor) -> None:
        super().__init__(torus, inverse)
        made_from = {"solver": "fourier", "version": VERSION, "map": torus.map, "grid": torus.grid}
        self.factors = kept(made_from, self._factor)

    @staticmethod
    def memory(torus: Torus) -> int:
        """Bytes kept, and about what is taken at the peak besides."""
        z = len(torus.rows.missing.position) * torus.rows.shape[0]
        f = len(torus.columns.missing.position) * torus.columns.shape[0]
        return 8 * (z * z + z * f + f * f) + 6 * torus.symbol.nbytes

    def _factor(self) -> dict[str, np.ndarray]:
        torus = self.torus
        surplus, border = torus.rows.missing, torus.columns.missing
        phases = _phases(torus.rows), _phases(torus.columns)
        inner = self.inverse @ torus.symbol
        z_factor = self._cholesky(torus.entries(self.inverse, surplus, surplus, (phases[0], phases[0])))
        # Gathered transposed: LAPACK then works in place.
        coupling = torus.entries(inner.mH, border, surplus, (phases[1], phases[0])).T
        coupling = _solve_lower(z_factor, coupling, overwrite=True)
        ff = torus.entries(torus.symbol_adjoint @ inner, border, border, (phases[1], phases[1]))
        if self.z and self.f:
            ff = scipy.linalg.blas.dsyrk(1.0, coupling, -1.0, ff.T, trans=1, lower=1, overwrite_c=1).T
        else:
            ff = -ff
        ff.flat[:: len(ff) + 1] += 1
        return {"z_factor": z_factor, "coupling": coupling, "f_factor": self._cholesky(ff)}

    def _cholesky(self, matrix: np.ndarray) -> np.ndarray:
        """The lower factor; ``matrix`` is overwritten, its upper half is read."""
        if not matrix.size:
            return matrix
        try:
            factor = scipy.linalg.cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            factor = np.zeros((1, 1))
        pivots = factor.diagonal()
        # Entries carry the rounding of K⁻¹; a pivot no larger than that proves nothing.
        values = self.torus.gram_values
        rounding = ROUNDING * np.finfo(np.float64).eps * float(values.max() / values.min())
        if pivots.min() ** 2 <= max(WORST, rounding) * pivots.max() ** 2:
            raise UnsupportedLayerError("it has not full row rank to working precision")
        return np.asarray(factor)

    def to(self, dtype: torch.dtype) -> None:
        """As of every edge system."""
        super().to(dtype)
        precision = np.float32 if dtype == torch.float32 else np.float64
        self.factors = {name: factor.astype(precision, copy=False) for name, factor in self.factors.items()}

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``."""
        z_factor, coupling, f_factor = (self.factors[name] for name in ("z_factor", "coupling", "f_factor"))
        values = r.numpy()
        y = _solve_lower(z_factor, values[: self.z])
        f = _solve_lower(f_factor, _solve_lower(f_factor, coupling.T @ y - values[self.z :]), transposed=True)
        g = _solve_lower(z_factor, y - coupling @ f, transposed=True)
        return torch.from_numpy(np.concatenate([g, f]))


class LoopEdges(Edges):
    """M solved by iteration.

    The edges across one axis run in loops around the others, where M is circulant and inverts frequency by frequency;
    only where two of them cross, at the corner, a window is factored. Memory and time grow as the image's side, its
    cube nowhere. No Cholesky proves the rank, though.

    Args:
        torus: of A.
        inverse: K̂⁻¹.

    Raises:
        UnsupportedLayerError: a loop or the corner is singular.
    """

    proof = "Lanczos on the inverse of A Aᵀ, in Fourier space"

    def __init__(self, torus: Torus, inverse: Tensor) -> None:
        super().__init__(torus, inverse)
        lattices = torus.rows, torus.columns
        self._outside = [torch.cat([lattice.outside(axis) for lattice in lattices]) for axis in range(len(torus.grid))]
        self.loops = [self._loop(axis) for axis in range(len(torus.grid)) if bool(self._outside[axis].any())]
        self.iterations, self.solved = 0, True
        self.window_inverse: Tensor
        self._set_window()

    def to(self, dtype: torch.dtype) -> None:
        """As of every edge system."""
        super().to(dtype)
        self.loops = [(unknowns, inverse.to(dtype.to_complex()), around) for unknowns, inverse, around in self.loops]
        self.window_inverse = self.window_inverse.to(dtype)

    @cached_property
    def _position(self) -> list[Tensor]:
        """Coordinates of every missing site on the grid, one tensor an axis."""
        flat = torch.cat([self.torus.rows.missing.position, self.torus.columns.missing.position])
        return list(torch.unravel_index(flat, self.torus.grid))

    def _unknowns(self, sites: Tensor) -> Tensor:
        """Indices into e of the values at sites, channels fastest, in the order given; ``(sites, C)`` flattened."""
        surplus = len(self.torus.rows.missing.position)
        low, high = self.torus.rows.shape[0], self.torus.columns.shape[0]
        parts = [
            (index[:, None] * channels + start + torch.arange(channels)).flatten()
            for index, channels, start in (
                (sites[sites < surplus], low, 0),
                (sites[sites >= surplus] - surplus, high, self.z),
            )
        ]
        return torch.cat(parts)

    def _loop(self, axis: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The loop of sites outside along an axis.

        Returns:
            Its unknowns, cell by cell, ``(cells, d)``; M⁻¹ at its frequencies, ``(frequencies, d, d)``; its grid.
        """
        sites = self._outside[axis].nonzero().flatten()
        others = [a for a in range(len(self.torus.grid)) if a != axis]
        around = tuple(self.torus.grid[a] for a in others)
        cell = torch.zeros_like(sites)
        for a, m in zip(others, around, strict=True):
            cell = cell * m + self._position[a][sites]
        first = sites[cell == 0]
        column = torch.from_numpy(self.block(sites, first))
        # Unknowns of all sites in the block's order, brought into cells; each cell lists them alike.
        unknowns = self._unknowns(sites)
        surplus = len(self.torus.rows.missing.position)
        wide = torch.where(sites < surplus, self.torus.rows.shape[0], self.torus.columns.shape[0])
        order = torch.repeat_interleave(cell, wide).argsort(stable=True)
        cells = max(int(np.prod(around)), 1)
        d = len(order) // cells
        blocks = column[order].reshape(*around, d, d) if around else column[order].reshape(1, d, d)
        axes = tuple(range(max(len(around), 1)))
        spectrum = torch.fft.rfftn(blocks, dim=axes).reshape(-1, d, d)
        return unknowns[order].reshape(cells, d), torch.linalg.inv(spectrum), around or (1,)

    def _set_window(self) -> None:
        """The largest window around where two edges cross, and its inner part, whose values are taken from it."""
        away = []
        for axis, m in enumerate(self.torus.grid):
            edge = torch.unique(self._position[axis][self._outside[axis]])
            gap = (self._position[axis][:, None] - edge).abs() if len(edge) else torch.full((1, 1), m)
            away.append(torch.minimum(gap, m - gap).amin(1).expand(len(self._position[axis])))
        crossing = torch.stack(away).sort(0).values[1] if len(away) > 1 else torch.full_like(away[0], 1 << 30)
        surplus = len(self.torus.rows.missing.position)
        channels = torch.where(
            torch.arange(len(crossing)) < surplus, self.torus.rows.shape[0], self.torus.columns.shape[0]
        )
        reach = max(
            (w for w in range(max(self.torus.grid)) if int(channels[crossing <= w].sum()) <= WINDOW), default=-1
        )
        window = (crossing <= reach).nonzero().flatten()
        self.window = self._unknowns(window)
        inner = (crossing <= reach * CORE).nonzero().flatten()
        self.inner = torch.isin(self.window, self._unknowns(inner))
        matrix = self.block(window, window) if len(window) else np.empty((0, 0))
        self.window_inverse = torch.linalg.inv(torch.from_numpy(matrix)) if len(window) else torch.empty(0, 0)

    def precondition(self, r: Tensor) -> Tensor:
        """M⁻¹ r, nearly: each loop by itself, and the corner by itself."""
        e = torch.zeros_like(r)
        for unknowns, inverse, around in self.loops:
            values = r[unknowns.flatten()].reshape(*around, -1, r.shape[1])
            axes = tuple(range(len(around)))
            spectrum = torch.fft.rfftn(values, dim=axes)
            turned = torch.bmm(inverse, spectrum.reshape(-1, *spectrum.shape[-2:])).reshape(spectrum.shape)
            e[unknowns.flatten()] = torch.fft.irfftn(turned, s=around, dim=axes).reshape(-1, r.shape[1])
        if len(self.window):
            e[self.window[self.inner]] = (self.window_inverse @ r[self.window])[self.inner]
        return e

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, ``(z + f, B)``, to within a residual ``(B,)``."""
        e, self.iterations = gmres(self.apply, self.precondition, r, tolerance, ITERATIONS)
        self.solved = self.iterations < ITERATIONS
        return e


def _phases(lattice: Lattice) -> int:
    return int(np.prod(lattice.stride))


def _some(lattice: Lattice, index: Tensor) -> Sites:
    return Sites(lattice.missing.position[index], lattice.missing.phase[index])


def _solve_lower(factor: np.ndarray, y: np.ndarray, transposed: bool = False, overwrite: bool = False) -> np.ndarray:
    if not factor.size:
        return y
    result: np.ndarray = scipy.linalg.solve_triangular(
        factor, y, lower=True, trans=int(transposed), overwrite_b=overwrite, check_finite=False
    )
    return result
