"""The edge system solved by iteration, where it is too large to be factored."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Self

import torch
from torch import Tensor

from ..dense_algebra.gmres import gmres
from .capacitance import CapacitanceSystem
from .circulant_embedding import CirculantEmbedding

WINDOW = 3000
"""Unknowns at most in the window around a corner."""

CORE = 0.6
"""How far into the window, as a share of its reach, its own solution is better than the loops'."""

ITERATIONS = 60
"""Of the iteration on the edges, at most; refinement goes on from there."""


class IterativeCapacitance(CapacitanceSystem):
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

    proof = None

    def __init__(self, torus: CirculantEmbedding, inverse: Tensor) -> None:
        super().__init__(torus, inverse)
        lattices = torus.rows, torus.columns
        self._outside = [torch.cat([lattice.outside(axis) for lattice in lattices]) for axis in range(len(torus.grid))]
        self.loops = [self._loop(axis) for axis in range(len(torus.grid)) if bool(self._outside[axis].any())]
        self.iterations, self.solved = 0, True
        self.window_inverse: Tensor
        self._set_window()

    def to(self, dtype: torch.dtype) -> Self:
        """As of every edge system."""
        other = super().to(dtype)
        other.loops = [(unknowns, inverse.to(dtype.to_complex()), around) for unknowns, inverse, around in self.loops]
        other.window_inverse = self.window_inverse.to(dtype)
        return other

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
        column = self.block(sites, first)
        # Unknowns of all sites in the block's order, brought into cells; each cell lists them alike.
        unknowns = self._unknowns(sites)
        surplus = len(self.torus.rows.missing.position)
        wide = torch.where(sites < surplus, self.torus.rows.shape[0], self.torus.columns.shape[0])
        order = torch.repeat_interleave(cell, wide).argsort(stable=True)
        cells = max(prod(around), 1)
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
        self.window_inverse = torch.linalg.inv(self.block(window, window)) if len(window) else torch.empty(0, 0)

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
        """As of every edge system."""
        e, self.iterations = gmres(self.apply, self.precondition, r, tolerance, ITERATIONS)
        self.solved = self.iterations < ITERATIONS
        return e
