"""Strided, padded convolutions of any size: circular in Fourier space, with an exact correction at the edges.

On a torus a convolution of stride s is block-diagonal in Fourier space once the image is split into its s phases: one
matrix Ĉ(ω) of C_out × C_in·s² a frequency. The layer is A = S C E: the image E-mbedded among padding pixels F, the
outputs S-elected, the surplus outputs Z dropped. With K = C Cᵀ, which a Fourier transform inverts,

    A Aᵀ u = b   ⟺   Sᵀu = K⁻¹ (Sᵀb + Zᵀg + C_F f),   Z Sᵀu = 0,   f = C_Fᵀ Sᵀu,

so only g and f, values on the edges, are left to be found, from a dense system factored once (Woodbury; capacitance).
Its blocks are translations of one kernel each, R = [I; Cᵀ] K⁻¹ [I, C], gathered and never computed column by column.
It splits into two positive definite systems, the second one just where A Aᵀ is: its Cholesky proves full row rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from torch import Tensor

from ..errors import TooLargeError, UnsupportedLayerError
from ..maps import Convolution, LinearMap
from .certificate import MARGIN, Certificate
from .dense import MEMORY_LIMIT
from .solver import Solver

WORST = 1e-11
"""Least share of the largest that each eigenvalue of K and each pivot of the edge systems must have."""

PASSES = 4
"""Refinement steps at most."""

ENOUGH = float(np.finfo(np.float64).eps)
"""‖A p‖ / (‖A‖ ‖x‖) at which refinement stops."""

CHUNK = 20 << 20
"""Bytes of perturbations worked on at a time: enough for the edge systems, few enough for the caches."""


@dataclass(frozen=True)
class _Sites:
    """Places on the torus: positions of the grid, int64, the phase of the stride at each, and how many phases."""

    sites: Tensor
    phase: Tensor
    phases: int


def serves(map: LinearMap) -> bool:
    """Whether the map is a convolution of one group, padded with zeros, that has no more outputs than inputs."""
    return (
        isinstance(map, Convolution)
        and map.groups == 1
        and map.mode == "zeros"
        and min(n for pair in map.padding for n in pair) >= 0
        and map.weight.shape[0] <= map.weight.shape[1] * prod(map.stride)
        and map.out_dim <= map.in_dim
    )


class FourierSolver(Solver):
    """Embedded circular inverse with exact boundary correction.

    Args:
        map: a ``Convolution`` for which ``serves`` holds.
        limit: bytes it may take.

    Raises:
        UnsupportedLayerError: it does not serve that map, or A has not full row rank to working precision.
        TooLargeError: the edge system would take more than the limit.
    """

    name = "fourier"

    def __init__(self, map: Convolution, limit: int = MEMORY_LIMIT) -> None:
        if not serves(map):
            raise UnsupportedLayerError(f"{map} is no zero-padded convolution of one group that contracts")
        super().__init__(map)
        self.conv = map
        axes = range(len(map.kernel))
        self.spatial, self.out = map.in_shape[1:], map.out_shape[1:]
        self.before = [before for before, _ in map.padding]
        # Taps that leave the torus must come back among padding pixels, which hold 0 like those they stand for.
        ends = [
            max((o - 1) * s + d * (k - 1) + 1 - b, b + n)
            for o, s, d, k, b, n in zip(
                self.out, map.stride, map.dilation, map.kernel, self.before, self.spatial, strict=True
            )
        ]
        self.grid = tuple(-(-end // s) for end, s in zip(ends, map.stride, strict=True))
        self._transform = tuple(axis - len(self.grid) for axis in axes)
        surplus = torch.ones(self.grid, dtype=torch.bool)
        surplus[tuple(slice(0, o) for o in self.out)] = False
        image = torch.zeros([m * s for m, s in zip(self.grid, map.stride, strict=True)], dtype=torch.bool)
        image[tuple(slice(b, b + n) for b, n in zip(self.before, self.spatial, strict=True))] = True
        self.surplus = surplus.flatten().nonzero().flatten()
        self.border = self._phases(~image[None])[0].flatten().nonzero().flatten()  # phase-major
        self._refuse_above(limit)
        self._factor_frequencies()
        self._factor_edges()
        self.certificate = self._certify()
        self._check()
        unknowns = len(self.surplus) * map.out_shape[0] + len(self.border) * map.in_shape[0]
        self.reason = f"a torus of {self.grid} positions and an edge system of {unknowns} unknowns"

    # --- between images and the phases of the torus -----------------------------------------------------

    def _phases(self, torus: Tensor) -> Tensor:
        """``(…, *torus)`` as ``(…, phases, *grid)``."""
        axes, lead = len(self.grid), torus.ndim - len(self.grid)
        pairs = [n for pair in zip(self.grid, self.conv.stride, strict=True) for n in pair]
        split = torus.reshape(*torus.shape[:lead], *pairs)
        order = (*range(lead), *(lead + 2 * a + 1 for a in range(axes)), *(lead + 2 * a for a in range(axes)))
        return split.permute(order).reshape(*torus.shape[:lead], prod(self.conv.stride), *self.grid)

    def _rfft(self, x: Tensor) -> Tensor:
        y: Tensor = torch.fft.rfftn(x, dim=self._transform)
        return y

    def _irfft(self, x: Tensor) -> Tensor:
        y: Tensor = torch.fft.irfftn(x, s=self.grid, dim=self._transform)
        return y

    # --- set-up -----------------------------------------------------------------------------------------

    def _refuse_above(self, limit: int) -> None:
        channels = self.conv.out_shape[0], self.conv.in_shape[0] * prod(self.conv.stride)
        z, f = len(self.surplus) * channels[0], len(self.border) * self.conv.in_shape[0]
        needed = 8 * (2 * (z * z + z * f + f * f) + 3 * sum(channels) ** 2 * prod(self.grid))
        if needed > limit:
            raise TooLargeError(
                f"the Fourier solver needs about {needed / 2**30:.1f} GiB for {self.conv} (an edge system of {z + f} "
                f"unknowns), above the limit of {limit / 2**30:.1f} GiB; take a smaller input shape"
            )

    def _factor_frequencies(self) -> None:
        """Ĉ, ``(w, C_out, C_in·phases)``, and K̂⁻¹, ``(w, C_out, C_out)``, at every frequency w."""
        conv = self.conv
        c_out, c_in = conv.weight.shape[:2]
        taps = torch.zeros(c_out, c_in, prod(conv.stride), prod(self.grid), dtype=torch.float64)
        offsets = torch.cartesian_prod(*(d * torch.arange(k) for d, k in zip(conv.dilation, conv.kernel, strict=True)))
        offsets = offsets.reshape(-1, len(self.grid))
        phase = torch.zeros(len(offsets), dtype=torch.int64)
        place = torch.zeros(len(offsets), dtype=torch.int64)
        for axis, (s, m) in enumerate(zip(conv.stride, self.grid, strict=True)):
            phase = phase * s + offsets[:, axis] % s
            place = place * m + (offsets[:, axis] // s) % m
        taps.view(c_out, c_in, -1).index_add_(2, phase * prod(self.grid) + place, conv.weight.flatten(2))
        # Cross-correlation: the conjugate of the transform.
        c = self._rfft(taps.reshape(c_out, -1, *self.grid)).conj()
        by_frequency = c.flatten(2).permute(2, 0, 1)
        k = by_frequency @ by_frequency.mH
        values = torch.linalg.eigvalsh(k)
        if float(values[:, 0].min()) <= WORST * float(values.max()):
            raise UnsupportedLayerError(f"{conv} loses outputs at some frequency; its rows are not independent there")
        self.norm_bound = float(values.max()) ** 0.5  # A is a part of C, so ‖A‖ ≤ ‖C‖
        inverse = torch.linalg.inv(k)
        self.c = by_frequency.resolve_conj().contiguous()
        self.c_adjoint = self.c.mH.resolve_conj().contiguous()
        self.k_inverse = (inverse + inverse.mH) / 2

    def _factor_edges(self) -> None:
        """Cholesky factors of the edge system's two halves, and the block that couples them."""
        inner = self.k_inverse @ self.c
        outer = self.c_adjoint @ inner
        surplus = _Sites(self.surplus, torch.zeros_like(self.surplus), 1)
        border = _Sites(self.border % prod(self.grid), self.border // prod(self.grid), prod(self.conv.stride))
        zz = self._gather(self.k_inverse, surplus, surplus)
        self.z_factor = self._cholesky(zz)
        self.coupling = _solve_lower(self.z_factor, self._gather(inner, surplus, border))
        ff = self.coupling.T @ self.coupling - self._gather(outer, border, border)
        ff.flat[:: len(ff) + 1] += 1
        self.f_factor = self._cholesky(ff)

    def _gather(self, kernel: Tensor, rows: _Sites, columns: _Sites) -> np.ndarray:
        """Entries of an operator that a matrix a frequency stands for, ``(w, p, q)``, between two lists of sites.

        It depends on the difference of two sites alone: one inverse transform holds them all. Channels vary fastest.
        """
        spectrum = (*self.grid[:-1], self.grid[-1] // 2 + 1)
        by_difference = self._irfft(kernel.permute(1, 2, 0).reshape(*kernel.shape[1:], *spectrum)).flatten(2)
        high, wide = kernel.shape[1] // rows.phases, kernel.shape[2] // columns.phases
        blocks = by_difference.reshape(high, rows.phases, wide, columns.phases, -1).permute(4, 1, 3, 0, 2).contiguous()
        result = np.empty((len(rows.sites) * high, len(columns.sites) * wide))
        theirs = torch.unravel_index(columns.sites, self.grid)
        for start in range(0, len(rows.sites), 64):
            some = slice(start, start + 64)
            difference = torch.zeros((), dtype=torch.int64)
            for here, there, m in zip(torch.unravel_index(rows.sites[some], self.grid), theirs, self.grid, strict=True):
                difference = difference * m + (here[:, None] - there) % m
            block = blocks[difference, rows.phase[some][:, None], columns.phase]
            part = block.transpose(1, 2).reshape(len(difference) * high, -1)
            result[start * high : start * high + len(part)] = part.numpy()
        return result

    def _cholesky(self, matrix: np.ndarray) -> np.ndarray:
        if not matrix.size:
            return matrix
        try:
            factor: np.ndarray = scipy.linalg.cholesky(matrix, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            factor = np.zeros((1, 1))
        pivots = factor.diagonal()
        if pivots.min() ** 2 <= WORST * pivots.max() ** 2:
            raise UnsupportedLayerError(f"{self.conv} has not full row rank to working precision")
        return factor

    def _certify(self) -> Certificate:
        """Full row rank, by the Cholesky factors; the smallest σ by Lanczos on (A Aᵀ)⁻¹."""

        def apply(v: np.ndarray) -> np.ndarray:
            return self._gram_inverse(torch.from_numpy(v.reshape(1, *self.map.out_shape).copy())).numpy().ravel()

        size = self.map.out_dim
        inverse = scipy.sparse.linalg.LinearOperator((size, size), matvec=apply, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(size)
        largest = float(scipy.sparse.linalg.eigsh(inverse, k=1, v0=start, tol=1e-4, return_eigenvectors=False)[0])
        smallest = largest**-0.5 if largest > 0 else 0.0
        tolerance = max(size, self.map.in_dim) * ENOUGH * self.norm_bound
        if smallest <= MARGIN * tolerance:
            raise UnsupportedLayerError(f"{self.conv} has not full row rank to working precision")
        method = "Cholesky of the edge system in Fourier space"
        return Certificate(size, "exact", method, tolerance, self.norm_bound, smallest, None)

    def _check(self) -> None:
        """Measure one projection: what is taken off lies in the row space, so a small residual proves it right."""
        x = torch.randn(1, *self.map.in_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        residual = float(self.map._forward(self._project(x)).norm()) / self.norm_bound / float(x.norm())
        if residual > 2 * ENOUGH:
            raise UnsupportedLayerError(f"{self.conv} is too ill-conditioned: the residual stays at {residual:.1e}")

    # --- projection -------------------------------------------------------------------------------------

    def _gram_inverse(self, b: Tensor) -> Tensor:
        """(A Aᵀ)⁻¹ b, ``(B, C_out, *out)``, float64."""
        batch = len(b)
        padded = b.new_zeros(batch, b.shape[1], *self.grid)
        inside = (slice(None), slice(None), *(slice(0, o) for o in self.out))
        padded[inside] = b
        b_hat = self._rfft(padded)
        spectrum = b_hat.shape[2:]
        b_hat = b_hat.flatten(2)
        w_hat = self._multiply(self.k_inverse, b_hat)
        w = self._irfft(w_hat.reshape(batch, -1, *spectrum))
        z = w.flatten(2)[:, :, self.surplus].transpose(1, 2).reshape(batch, -1).T.numpy()
        back = self._irfft(self._multiply(self.c_adjoint, w_hat).reshape(batch, -1, *spectrum))
        f = (
            back.reshape(batch, self.map.in_shape[0], -1)[:, :, self.border]
            .transpose(1, 2)
            .reshape(batch, -1)
            .T.numpy()
        )
        y = _solve_lower(self.z_factor, -z)
        f = _solve_lower(self.f_factor, _solve_lower(self.f_factor, f + self.coupling.T @ y), transposed=True)
        g = _solve_lower(self.z_factor, y - self.coupling @ f, transposed=True)
        flat = padded.flatten(2)
        flat[:, :, self.surplus] = torch.from_numpy(g.T.copy()).reshape(batch, -1, b.shape[1]).mT
        edges = b.new_zeros(batch, self.map.in_shape[0], prod(self.conv.stride) * prod(self.grid))
        edges[:, :, self.border] = torch.from_numpy(f.T.copy()).reshape(batch, -1, self.map.in_shape[0]).mT
        total = self._rfft(flat.reshape(batch, -1, *self.grid)).flatten(2)
        total = total + self._multiply(self.c, self._rfft(edges.reshape(batch, -1, *self.grid)).flatten(2))
        u = self._irfft(self._multiply(self.k_inverse, total).reshape(batch, -1, *spectrum))
        return u[inside]

    @staticmethod
    def _multiply(matrices: Tensor, x: Tensor) -> Tensor:
        """One matrix a frequency, ``(w, p, q)``, applied to ``(B, q, w)``."""
        return torch.bmm(matrices, x.permute(2, 1, 0)).permute(2, 1, 0)

    def _project(self, x: Tensor) -> Tensor:
        if self.dim == 0:
            return torch.zeros_like(x)
        # In float64 on the CPU whatever x is.
        batch = max(CHUNK // (8 * self.map.in_dim), 1)
        parts = [self._refined(part) for part in x.to("cpu", torch.float64).split(batch)]
        return torch.cat(parts).to(x.device, x.dtype)

    def _refined(self, x: Tensor) -> Tensor:
        """x ← x − Aᵀ(A Aᵀ)⁻¹ A x until ‖A x‖ is, or must by its last fall be, at the rounding error."""
        enough = ENOUGH * self.norm_bound * x.flatten(1).norm(dim=1)
        before = torch.full_like(enough, float("inf"))
        for _ in range(PASSES):
            b = self.map._forward(x)
            size = b.flatten(1).norm(dim=1)
            if bool(((size <= enough) | (size > before / 4)).all()):
                break
            x = x - self.map._adjoint(self._gram_inverse(b))
            if bool((size * (size / before) <= enough / 100).all() & before.isfinite().all()):
                break  # falling as before it is far below already, and need not be measured again
            before = size
        return x


def _solve_lower(factor: np.ndarray, y: np.ndarray, transposed: bool = False) -> np.ndarray:
    if not factor.size:
        return y
    result: np.ndarray = scipy.linalg.solve_triangular(factor, y, lower=True, trans=int(transposed), check_finite=False)
    return result
