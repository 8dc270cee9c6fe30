"""Products of the circular convolution with values beside the image alone, computed where they matter.

Values beside the image along an axis reach few positions along that axis. There a convolution of the narrow strip
that holds these costs next to nothing on a large grid, where the product in Fourier space would read the symbol of
every frequency.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...maps.linear_map import Adjoint
from .circulant_embedding import CirculantEmbedding, convolution_of

_CONV: list[Any] = [F.conv1d, F.conv2d, F.conv3d]
_CONV_TRANSPOSE: list[Any] = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]


class _Strip(NamedTuple):
    """Places beside the image along one axis, and what a kernel couples them with.

    Attributes:
        unknowns: Which of the boundary places, int64 ``(k,)``.
        at: Their flat places in the periodic image ``(k,)``.
        outputs: For each axis the positions of the outputs involved.
        inputs: For each axis the positions that these read, in the order in which a convolution does.
    """

    unknowns: Tensor
    at: Tensor
    outputs: list[Tensor]
    inputs: list[Tensor]


class BorderProducts:
    """C_F f and C_Fᵀ y for the circular map C of an embedding and its boundary places F among the columns.

    Args:
        embedding: The circulant embedding.
    """

    def __init__(self, embedding: CirculantEmbedding) -> None:
        self.embedding = embedding
        self.conv = convolution_of(embedding.operator)
        self.transposed = isinstance(embedding.operator, Adjoint)
        self.columns, self.rows = embedding.columns, embedding.rows
        self.sides = [[s * m for s, m in zip(end.stride, end.grid, strict=True)] for end in (self.rows, self.columns)]
        self._weights: dict[torch.dtype, Tensor] = {}
        left = torch.ones(len(self.columns.boundary), dtype=torch.bool)
        self.strips = []
        for axis in range(len(embedding.grid)):
            places = self.columns.beside(axis) & left
            left = left & ~places
            if bool(places.any()):
                self.strips.append(self._strip(axis, places.nonzero().flatten()))

    @property
    def operations(self) -> float:
        """Real multiplications and additions of one product per image."""
        taps = 2 * self.conv.weight.numel()
        return float(sum(taps * prod(len(some) for some in strip.outputs) for strip in self.strips))

    def spread(self, g: Tensor, f: Tensor) -> Tensor:
        """The transform of g + C_F f, of a field ``(B, channels, *grid)`` and boundary unknowns ``(places · C, B)``."""
        return self.embedding.transform(g + self.rows.split(self.forward(f)))

    def collect(self, v: Tensor, field: Tensor) -> Tensor:
        """C_Fᵀ v, boundary unknowns ``(places · C, B)``, by the field whose transform v is."""
        return self.adjoint(self.rows.join(field))

    def forward(self, f: Tensor) -> Tensor:
        """C_F f on the periodic image of the rows, ``(B, C, *sides)``, of boundary unknowns ``(places · C, B)``."""
        channels, batch = self.columns.shape[0], f.shape[1]
        values = f.reshape(-1, channels, batch).permute(2, 1, 0)
        result = f.new_zeros(batch, self.rows.shape[0], *self.sides[0])
        for strip in self.strips:
            image = f.new_zeros(batch, channels, *self.sides[1])
            image.flatten(2)[:, :, strip.at] = values[:, :, strip.unknowns]
            _add_at(result, self._product(_take(image, self._sources(strip)), self.transposed), self._targets(strip))
        return result

    def adjoint(self, y: Tensor) -> Tensor:
        """C_Fᵀ y of a periodic image of the rows, as boundary unknowns ``(places · C, B)``."""
        result = y.new_empty(len(y), self.columns.shape[0], len(self.columns.boundary))
        for strip in self.strips:
            image = y.new_zeros(len(y), self.columns.shape[0], *self.sides[1])
            _add_at(image, self._product(_take(y, self._targets(strip)), not self.transposed), self._sources(strip))
            result[:, :, strip.unknowns] = image.flatten(2)[:, :, strip.at]
        return result.permute(2, 1, 0).reshape(-1, len(y))

    def _sources(self, strip: _Strip) -> list[Tensor]:
        return strip.outputs if self.transposed else strip.inputs

    def _targets(self, strip: _Strip) -> list[Tensor]:
        return strip.inputs if self.transposed else strip.outputs

    def _product(self, x: Tensor, transposed: bool) -> Tensor:
        weight = self._weights.setdefault(x.dtype, self.conv.weight.to(x.dtype))
        axes = len(self.conv.kernel) - 1
        y: Tensor
        if transposed:
            y = _CONV_TRANSPOSE[axes](x, weight, None, self.conv.stride, 0, 0, 1, self.conv.dilation)
        else:
            y = _CONV[axes](x, weight, None, self.conv.stride, 0, self.conv.dilation)
        return y

    def _strip(self, axis: int, places: Tensor) -> _Strip:
        coordinates = [part[places] for part in self.columns.coordinates]
        at = torch.zeros_like(places)
        for part, side in zip(coordinates, self.sides[1], strict=True):
            at = at * side + part
        outputs, inputs = [], []
        for other, (m, s, d, k) in enumerate(
            zip(self.columns.grid, self.conv.stride, self.conv.dilation, self.conv.kernel, strict=True)
        ):
            run = torch.arange(m)
            if other == axis:
                touched = torch.zeros(m, dtype=torch.bool)
                if self.transposed:
                    touched[coordinates[axis]] = True
                else:
                    reads = (s * run[:, None] + d * torch.arange(k)) % (s * m)
                    touched = torch.isin(reads, coordinates[axis]).any(1)
                run = _arc(touched)
            outputs.append(run)
            inputs.append((s * int(run[0]) + torch.arange(s * (len(run) - 1) + d * (k - 1) + 1)) % (s * m))
        return _Strip(places, at, outputs, inputs)


def _arc(touched: Tensor) -> Tensor:
    """The shortest arc of a circle, as consecutive positions, that holds all positions of a mask."""
    size, positions = len(touched), touched.nonzero().flatten()
    if not len(positions):
        return torch.zeros(1, dtype=torch.int64)
    gaps = (positions.roll(-1) - positions - 1) % size
    longest = int(gaps.argmax()) if len(positions) > 1 else 0
    start = int(positions[(longest + 1) % len(positions)])
    length = size - int(gaps[longest]) if len(positions) > 1 else 1
    return (start + torch.arange(length)) % size


def _take(x: Tensor, positions: list[Tensor]) -> Tensor:
    """The values ``(B, C, …)`` at a product of positions along the axes."""
    for axis, some in enumerate(positions):
        if len(some) != x.shape[2 + axis] or int(some[0]):
            x = x.index_select(2 + axis, some)
    return x


def _add_at(result: Tensor, x: Tensor, positions: list[Tensor]) -> None:
    """Adds values at a product of positions along the axes, some of which may occur twice."""
    for axis in reversed(range(1, len(positions))):
        side = result.shape[2 + axis]
        if x.shape[2 + axis] != side or int(positions[axis][0]):
            folded = x.new_zeros(*x.shape[: 2 + axis], side, *x.shape[3 + axis :])
            x = folded.index_add_(2 + axis, positions[axis], x)
    result.index_add_(2, positions[0], x)
