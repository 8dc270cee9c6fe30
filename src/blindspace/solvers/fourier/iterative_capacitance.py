"""The capacitance system solved by an iteration, if it is too large to be inverted.

Known as preconditioned GMRES (Saad & Schultz 1986), here with block circulant strips and one dense window as blocks.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ..dense_algebra.gmres import gmres
from .capacitance import CapacitanceSystem
from .circulant_embedding import CirculantEmbedding

WINDOW = 3000  # Largest number of unknowns in the window around a corner
CORE = 0.6  # Share of the window's reach up to which the window's own solution is better than that of the strips
ITERATIONS = 60  # Largest number of iterations for the boundary unknowns; refinement continues from there


class IterativeCapacitance(CapacitanceSystem):
    """The capacitance system solved by preconditioned GMRES, if it is too large to be factored.

    The boundary unknowns outside the image along one axis form a strip around the other axes, on which M is block
    circulant and inverts frequency by frequency; only where two strips cross, at the corner, a window is factored.
    Memory and time grow as the image's side, nothing as its cube. But no Cholesky factorisation proves the rank.

    Args:
        embedding: The circulant embedding of A.
        window: Largest number of unknowns in the window around a corner.
        limit: Largest number of iterations.

    Raises:
        UnsupportedLayerError: A strip or the corner is singular.
    """

    proof = None

    def __init__(self, embedding: CirculantEmbedding, window: int = WINDOW, limit: int = ITERATIONS) -> None:
        super().__init__(embedding)
        ends, axes = (embedding.rows, embedding.columns), range(len(embedding.grid))
        self._outside = [torch.cat([end.beside(axis) for end in ends]) for axis in axes]
        others = [[a for a in axes if a != axis] for axis in axes]
        outside = [mask.nonzero().flatten() for mask in self._outside]
        sides = [(outside[axis], others[axis]) for axis in axes if len(outside[axis])]
        around = self._set_window(window)
        *columns, corner = self.blocks(*(self.first_column(*side) for side in sides), (around, around))
        strips = [self.strip(*side, column) for side, column in zip(sides, columns, strict=True)]
        self.strips = [strip._replace(spectrum=torch.linalg.inv(strip.spectrum)) for strip in strips]
        self.window_inverse = torch.linalg.inv(corner)[self.inner]
        self.limit, self.iterations, self.solved = limit, 0, True

    def to(self, dtype: torch.dtype) -> Self:
        """The same system in another precision, the preconditioner included."""
        other = super().to(dtype)
        other.strips = [strip.to(dtype) for strip in self.strips]
        other.window_inverse = self.window_inverse.to(dtype)
        return other

    def _set_window(self, most: int) -> Tensor:
        """The places of the largest window around the crossing of two strips; its inner part gives values."""
        away = []
        for axis, m in enumerate(self.embedding.grid):
            strip = torch.unique(self.position[axis][self._outside[axis]])
            gap = (self.position[axis][:, None] - strip).abs() if len(strip) else torch.full((1, 1), m)
            away.append(torch.minimum(gap, m - gap).amin(1).expand(len(self.position[axis])))
        crossing = torch.stack(away).sort(0).values[1] if len(away) > 1 else torch.full_like(away[0], 1 << 30)
        widths = range(max(self.embedding.grid))
        reach = max((w for w in widths if int(self.channels[crossing <= w].sum()) <= most), default=-1)
        window = (crossing <= reach).nonzero().flatten()
        self.window = self.indices(window)
        inner = (crossing <= reach * CORE).nonzero().flatten()
        self.inner = torch.isin(self.window, self.indices(inner))
        return window

    def precondition(self, r: Tensor) -> Tensor:
        """An approximation of M⁻¹ r: each strip by itself, and the corner by itself."""
        e = torch.zeros_like(r)
        for strip in self.strips:
            unknowns = strip.unknowns.flatten()
            e[unknowns] = strip @ r[unknowns]
        if len(self.window):
            # Products take about half as long with columns that lie one after the other in memory.
            e[self.window[self.inner]] = (r[self.window].mT.contiguous() @ self.window_inverse.mT).mT
        return e

    def solve(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """M⁻¹ r, or what the last iteration allowed has found of it; then ``solved`` is False."""
        e, self.iterations = gmres(self.apply, self.precondition, r, tolerance, self.limit)
        self.solved = self.iterations < self.limit
        return e
