"""Transforms of fields that are 0, or read, at few positions of every axis alone.

Known as pruned Fourier transforms (Sorensen & Burrus 1993). Along the axis of a narrow strip the transform is a product
with a thin matrix. That takes a fraction of the time of a whole transform, above all where a side has a large prime
factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from torch import Tensor

NARROW = 1 / 8  # Share of the grid up to which strips are narrow enough

Axes = Sequence[int] | None


class PrunedTransforms:
    """The transforms of a periodic grid for fields that matter where some axis has one of its positions.

    Args:
        grid: Positions per axis, of two axes or more.
        positions: For each axis the positions that matter, int64 ``(k,)``, with all positions of the other axes.
    """

    def __init__(self, grid: tuple[int, ...], positions: list[Tensor]) -> None:
        self.grid, self.positions = grid, positions
        self._half = (*grid[:-1], grid[-1] // 2 + 1)
        self._matrices: dict[torch.dtype, list[tuple[Tensor, Tensor]]] = {
            torch.complex128: [self._thin(axis) for axis in range(len(grid))]
        }

    @staticmethod
    def pays(grid: tuple[int, ...], positions: list[Tensor]) -> bool:
        """Whether whole transforms would take longer."""
        return len(grid) > 1 and sum(len(some) / m for some, m in zip(positions, grid, strict=True)) <= NARROW

    def transform(self, field: Tensor, axes: Axes = None) -> Tensor:
        """The transform of a field ``(B, channels, *grid)`` that is 0 elsewhere, ``(B, channels, frequencies)``.

        Here and below ``axes`` are those whose positions matter; None for all.
        """
        spectrum = torch.zeros(*field.shape[:2], *self._half, dtype=field.dtype.to_complex())
        done: list[tuple[int, Tensor]] = []
        for axis, some in self._strips(axes):
            part = field.index_select(2 + axis, some)
            for before, others in done:  # each value counts once
                part.index_fill_(2 + before, others, 0)
            done.append((axis, some))
            last = axis == len(self.grid) - 1
            dims = [2 + a for a in range(len(self.grid)) if a != axis]
            part = torch.fft.fftn(part, dim=dims) if last else torch.fft.rfftn(part, dim=dims)
            spectrum += _along(self._in(part.dtype)[axis][0], part, 2 + axis)
        return spectrum.flatten(2)

    def inverse_transform(self, spectrum: Tensor, axes: Axes = None) -> Tensor:
        """The field ``(B, channels, *grid)`` of a transform where it matters, and 0 elsewhere."""
        spectrum = spectrum.reshape(*spectrum.shape[:2], *self._half)
        field = torch.zeros(*spectrum.shape[:2], *self.grid, dtype=spectrum.dtype.to_real())
        for axis, some in self._strips(axes):
            part = _along(self._in(spectrum.dtype)[axis][1], spectrum, 2 + axis)
            others = [a for a in range(len(self.grid)) if a != axis]
            dims = [2 + a for a in others]
            if axis == len(self.grid) - 1:
                part = torch.fft.ifftn(part, dim=dims).real
            else:
                part = torch.fft.irfftn(part, s=[self.grid[a] for a in others], dim=dims)
            field.index_copy_(2 + axis, some, part)
        return field

    def _strips(self, axes: Axes) -> list[tuple[int, Tensor]]:
        chosen = range(len(self.grid)) if axes is None else axes
        return [(axis, self.positions[axis]) for axis in chosen if len(self.positions[axis])]

    def _thin(self, axis: int) -> tuple[Tensor, Tensor]:
        """The transform along an axis, ``(frequencies, k)``, and its inverse, ``(k, frequencies)``."""
        side, frequencies = self.grid[axis], torch.arange(self._half[axis])
        turns = (frequencies[:, None] * self.positions[axis] % side).double() * (-2 * pi / side)
        matrix = torch.polar(torch.ones_like(turns), turns)
        weights = torch.full((len(frequencies), 1), 1.0, dtype=torch.float64)
        if axis == len(self.grid) - 1:  # each frequency stands for its conjugate too, unless it is its own
            weights[(2 * frequencies) % side != 0] = 2.0
        return matrix, (matrix.conj() * (weights / side)).mT.contiguous()

    def _in(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        if dtype not in self._matrices:
            self._matrices[dtype] = [(a.to(dtype), b.to(dtype)) for a, b in self._matrices[torch.complex128]]
        return self._matrices[dtype]


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """The products of a matrix with all columns of x along an axis."""
    if axis == x.ndim - 1:
        return x @ matrix.mT
    product: Tensor = (matrix @ x.movedim(axis, -2)).movedim(-2, axis)
    return product
