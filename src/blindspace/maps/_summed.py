"""The sum of maps with one input and one output shape: branches that meet again."""

from __future__ import annotations

from collections.abc import Sequence

import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from ._gather import gather, positions
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .linear_map import LinearMap
from .rearrange import Identity
from .simplify import Composed, compose


class Summed(LinearMap):
    """``x ↦ A₁ x + A₂ x + …``.

    Args:
        parts: maps of one input and one output shape; at least one.

    Raises:
        ShapeError: there are none, or their shapes differ.
    """

    def __init__(self, parts: Sequence[LinearMap]) -> None:
        shapes = {(part.in_shape, part.out_shape) for part in parts}
        if len(shapes) != 1:
            raise ShapeError(f"maps to be added must have the same shapes, got {sorted(shapes) or 'no maps'}")
        super().__init__(parts[0].in_shape, parts[0].out_shape)
        self.parts = list(parts)

    def _forward(self, x: Tensor) -> Tensor:
        return sum((part._forward(x) for part in self.parts[1:]), self.parts[0]._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return sum((part._adjoint(y) for part in self.parts[1:]), self.parts[0]._adjoint(y))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        total = self.parts[0].to_scipy()
        for part in self.parts[1:]:
            total = scipy.sparse.csr_array(total + part.to_scipy())
        return total


def summed(parts: Sequence[LinearMap]) -> LinearMap:
    """The sum as one structured map where there is one: moves to different places, kernels, matrices, scalings.

    Args:
        parts: as of ``Summed``.

    Raises:
        ShapeError: as of ``Summed``.
    """
    left: list[LinearMap] = []
    for part in parts:
        for index, other in enumerate(left):
            both = _both(other, part)
            if both is not None:
                left[index] = both
                break
        else:
            left.append(part)
    return left[0] if len(left) == 1 else Summed(left)


def _both(a: LinearMap, b: LinearMap) -> LinearMap | None:
    """a + b as one structured map; None where there is none."""
    if (a.in_shape, a.out_shape) != (b.in_shape, b.out_shape):
        return None
    match a, b:
        case Convolution(), Convolution():
            return _kernels(a, b)
        case Dense(), Dense():
            return Dense(a.matrix + b.matrix, a.leading)
        case ((Diagonal() | Identity()), (Diagonal() | Identity())):
            return Diagonal(_weights(a) + _weights(b), a.in_shape)
    here, there = _monomial(a), _monomial(b)
    if here is None or there is None or bool(((here[0] >= 0) & (there[0] >= 0)).any()):
        return None
    moved = gather(a.in_shape, a.out_shape, torch.maximum(here[0], there[0]))
    weight = torch.where(here[0] >= 0, here[1], there[1])
    return moved if bool((weight == 1).all()) else compose(moved, Diagonal(weight.reshape(a.out_shape), a.out_shape))


def _monomial(operator: LinearMap) -> tuple[Tensor, Tensor] | None:
    """Of a map whose every output is one input value times a number: which, −1 for none, and the numbers."""
    read = torch.arange(operator.in_dim)
    weight = torch.ones(operator.in_dim, dtype=torch.float64)
    for factor in operator.factors if isinstance(operator, Composed) else [operator]:
        if isinstance(factor, Diagonal):
            weight = weight * _weights(factor).flatten()
            continue
        moved = positions(factor)
        if moved is None:
            return None
        read, weight = torch.cat([read, read.new_tensor([-1])])[moved], torch.cat([weight, weight.new_ones(1)])[moved]
    return read, weight


def _weights(operator: Diagonal | Identity) -> Tensor:
    weight = operator.weight if isinstance(operator, Diagonal) else torch.ones((), dtype=torch.float64)
    return torch.broadcast_to(weight, operator.in_shape)


def _kernels(a: Convolution, b: Convolution) -> Convolution | None:
    """One convolution for two that read and write the same positions: their kernels, one upon the other."""
    alike = (a.stride, a.groups, a.mode) == (b.stride, b.groups, b.mode) and a.mode == "zeros"
    steps = zip(a.kernel, a.dilation, b.kernel, b.dilation, strict=True)
    if not alike or not all(d == e or k == 1 or j == 1 for k, d, j, e in steps):
        return None
    dilation = [d if k > 1 else e for k, d, e in zip(a.kernel, a.dilation, b.dilation, strict=True)]
    before, after = [], []
    for axis, step in enumerate(dilation):
        starts = [-conv.padding[axis][0] for conv in (a, b)]
        if (starts[0] - starts[1]) % step:
            return None
        ends = [start + step * (conv.kernel[axis] - 1) for start, conv in zip(starts, (a, b), strict=True)]
        before.append([(start - min(starts)) // step for start in starts])
        after.append([(max(ends) - end) // step for end in ends])
    weights = []
    for index, conv in enumerate((a, b)):
        pads = [n for axis in reversed(range(len(dilation))) for n in (before[axis][index], after[axis][index])]
        weights.append(F.pad(conv.weight, pads))
    padding = []
    for axis, step in enumerate(dilation):
        front = max(conv.padding[axis][0] for conv in (a, b))
        size = weights[0].shape[2 + axis]
        reach = (a.out_shape[1 + axis] - 1) * a.stride[axis] + step * (size - 1) + 1
        padding.append((front, max(reach - front - a.in_shape[1 + axis], 0)))
    found = Convolution(weights[0] + weights[1], a.in_shape, a.stride, padding, dilation, a.groups)
    return found if found.out_shape == a.out_shape else None
