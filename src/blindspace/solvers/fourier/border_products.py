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
from .pruned_transforms import Axes, PrunedTransforms

_CONV: list[Any] = [F.conv1d, F.conv2d, F.conv3d]
_CONV_TRANSPOSE: list[Any] = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]


class _Strip(NamedTuple):
    """Places beside the image along one axis, and what a kernel couples them with.

    Attributes:
        axis: The axis.
        sides: Positions along each axis of the values that the product reads: a narrow part of the periodic image.
        at: Flat places in it of the boundary places, int64 ``(k,)``; one place may occur twice.
        unknowns: Which boundary places these are ``(k,)``.
        targets: For each axis the positions in the periodic image of the rows that the product writes to.
    """

    axis: int
    sides: list[int]
    at: Tensor
    unknowns: Tensor
    targets: list[Tensor]


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
        self.pruned = self._pruned()

    @property
    def operations(self) -> float:
        """Real multiplications and additions of one product per image."""
        taps = 2 * self.conv.weight.numel()
        outputs = [strip.sides if self.transposed else map(len, strip.targets) for strip in self.strips]
        return float(sum(taps * prod(some) for some in outputs))

    def spread(self, g: Tensor, f: Tensor, axes: Axes = None) -> Tensor:
        """The transform of Zᵀg + C_F f, of boundary unknowns ``(places · C, B)`` of the rows and of the columns.

        Args:
            g: The unknowns of the rows.
            f: The unknowns of the columns.
            axes: Axes beside which all unknowns lie that are not 0, before any other axis; None for all axes.
        """
        image = self.rows.join(self.rows.write_boundary(g))
        self._add_product(image, f, axes)
        field = self.rows.split(image)
        return self.pruned.transform(field, axes) if self.pruned else self.embedding.transform(field)

    def collect(self, v: Tensor, axes: Axes = None) -> Tensor:
        """[v_Z; C_Fᵀ v] of a transform v, ``(places · C, B)``; those unknowns alone that lie beside some axes first."""
        field = self.pruned.inverse_transform(v, axes) if self.pruned else self.embedding.inverse_transform(v)
        return torch.cat([self.rows.read_boundary(field), self.adjoint(self.rows.join(field), axes)])

    def _pruned(self) -> PrunedTransforms | None:
        """The transforms of fields that matter at the surplus rows and where the strips write to, if these pay."""
        positions = []
        for axis, s in enumerate(self.rows.stride):
            surplus = self.rows.coordinates[axis][self.rows.beside(axis)]
            touched = [strip.targets[axis] for strip in self.strips if strip.axis == axis]
            positions.append(torch.unique(torch.cat([surplus, *touched]) // s))
        grid = self.embedding.grid
        return PrunedTransforms(grid, positions) if PrunedTransforms.pays(grid, positions) else None

    def forward(self, f: Tensor) -> Tensor:
        """C_F f on the periodic image of the rows, ``(B, C, *sides)``, of boundary unknowns ``(places · C, B)``."""
        image = f.new_zeros(f.shape[1], self.rows.shape[0], *self.sides[0])
        self._add_product(image, f)
        return image

    def _strips(self, axes: Axes) -> list[_Strip]:
        return [strip for strip in self.strips if axes is None or strip.axis in axes]

    def _add_product(self, image: Tensor, f: Tensor, axes: Axes = None) -> None:
        channels, batch = self.columns.shape[0], f.shape[1]
        values = f.reshape(-1, channels, batch).permute(2, 1, 0)
        for strip in self._strips(axes):
            part = f.new_zeros(batch, channels, prod(strip.sides))
            part[:, :, strip.at] = values[:, :, strip.unknowns]
            _add_at(image, self._product(part.unflatten(2, strip.sides), self.transposed), strip.targets)

    def adjoint(self, y: Tensor, axes: Axes = None) -> Tensor:
        """C_Fᵀ y of a periodic image of the rows, as boundary unknowns ``(places · C, B)``."""
        result = y.new_zeros(len(self.columns.boundary), self.columns.shape[0], len(y))
        for strip in self._strips(axes):
            part = self._product(_take(y, strip.targets), not self.transposed).flatten(2)
            result.index_add_(0, strip.unknowns, part[:, :, strip.at].permute(2, 1, 0))
        return result.reshape(-1, len(y))

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
        unknowns = torch.full(self.sides[1], -1)
        unknowns[tuple(coordinates)] = places
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
        sources, targets = (outputs, inputs) if self.transposed else (inputs, outputs)
        read = unknowns[torch.meshgrid(*sources, indexing="ij")].flatten()
        at = (read >= 0).nonzero().flatten()
        return _Strip(axis, [len(some) for some in sources], at, read[at], targets)


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
    for axis in _partial(x, positions):
        x = x.index_select(2 + axis, positions[axis])
    return x


def _add_at(result: Tensor, x: Tensor, positions: list[Tensor]) -> None:
    """Adds values at a product of positions along the axes, some of which may occur twice."""
    first, *others = _partial(result, positions) or [0]
    for axis in reversed(others):
        folded = x.new_zeros(*x.shape[: 2 + axis], result.shape[2 + axis], *x.shape[3 + axis :])
        x = folded.index_add_(2 + axis, positions[axis], x)
    result.index_add_(2 + first, positions[first], x)


def _partial(image: Tensor, positions: list[Tensor]) -> list[int]:
    """The axes along which consecutive positions are not just those of an image ``(B, C, …)``."""
    return [axis for axis, some in enumerate(positions) if len(some) != image.shape[2 + axis] or int(some[0])]
