"""One map after another."""

from __future__ import annotations

import scipy.sparse
import torch
from torch import Tensor

from ..errors import ShapeError
from ._gather import Gather, gather, positions
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .kronecker import Kronecker
from .linear_map import LinearMap
from .padding import Padding
from .rearrange import Identity, Rearrange


class Composed(LinearMap):
    """``(outer ∘ inner)(x) = outer(inner(x))``; kept as a flat list of factors.

    Args:
        outer: applied last.
        inner: applied first.

    Raises:
        ShapeError: inner's outputs are not outer's inputs.
    """

    def __init__(self, outer: LinearMap, inner: LinearMap) -> None:
        _check_fit(outer, inner)
        super().__init__(inner.in_shape, outer.out_shape)
        self.outer, self.inner = outer, inner

    @property
    def factors(self) -> list[LinearMap]:
        """The maps, first applied first; none of them is itself composed."""
        parts: list[LinearMap] = []
        for part in (self.inner, self.outer):
            parts += part.factors if isinstance(part, Composed) else [part]
        return parts

    def _forward(self, x: Tensor) -> Tensor:
        return self.outer._forward(self.inner._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner._adjoint(self.outer._adjoint(y))

    def _to_scipy(self) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(self.outer.to_scipy() @ self.inner.to_scipy())


def compose(*factors: LinearMap) -> LinearMap:
    """The factors applied in the order given, folded into as few as structure allows.

    Scalings go into the convolution or matrix that reads or writes them, crops and other axis-wise maps into a
    separable one, and a scaling of channels moves outwards past a resize, crop or padding: resize, crop, normalise and
    convolution become one resize and one convolution. This keeps the structure that the fast solvers look for.

    Args:
        factors: first applied first; at least one.

    Raises:
        ShapeError: two neighbours do not fit.
    """
    whole: list[LinearMap] = []
    for factor in factors:
        for part in factor.factors if isinstance(factor, Composed) else [factor]:
            if not _nothing(part):
                _append(whole, part)
    result = whole[0] if whole else Identity(factors[0].in_shape)
    for part in whole[1:]:
        result = Composed(part, result)
    return result


def _append(whole: list[LinearMap], outer: LinearMap) -> None:
    """Puts a map after the others, in normal form."""
    if not whole:
        whole.append(outer)
        return
    inner = whole[-1]
    _check_fit(outer, inner)
    moved = _moved_outwards(inner, outer) if isinstance(inner, Diagonal) else None
    folded = fold(outer, inner)
    if moved is not None:
        whole.pop()
        _append(whole, outer)
        _append(whole, moved)
    elif folded is not None:
        whole.pop()
        if not _nothing(folded):
            _append(whole, folded)
    else:
        whole.append(outer)


def _nothing(operator: LinearMap) -> bool:
    return isinstance(operator, Rearrange) and operator.in_shape == operator.out_shape and operator.still


def _check_fit(outer: LinearMap, inner: LinearMap) -> None:
    if inner.out_shape != outer.in_shape:
        raise ShapeError(f"cannot apply {outer} to the output of {inner}: the shapes differ")


def _moved_outwards(scale: Diagonal, outer: LinearMap) -> Diagonal | None:
    """The scaling that after ``outer`` does what ``scale`` does before it; None where they do not commute."""
    if not isinstance(outer, Kronecker | Padding):
        return None
    missing = len(scale.in_shape) - scale.weight.ndim
    weight = scale.weight.reshape(*(1,) * missing, *scale.weight.shape)
    even = weight
    for axis in outer.axes:
        even = even.narrow(axis, 0, 1)
    return Diagonal(even, outer.out_shape) if bool((even == weight).all()) else None


def fold(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """``outer ∘ inner`` as one structured map, where one can be taken into the other; else None."""
    if isinstance(outer, Kronecker) and isinstance(inner, Kronecker | Padding):
        return _separable(outer, inner)
    if isinstance(outer, Padding) and isinstance(inner, Kronecker) and _only_crops(outer):
        return _separable(outer, inner)
    if isinstance(inner, Rearrange) and isinstance(outer, Rearrange):
        return _rearranged(outer, inner)
    if isinstance(inner, Gather) or isinstance(outer, Gather):
        return _moved(outer, inner)
    if isinstance(inner, Diagonal) and isinstance(outer, Diagonal):
        return Diagonal(outer.weight * inner.weight, outer.in_shape)
    if isinstance(inner, Padding) and isinstance(outer, Padding):
        return _padded_twice(outer, inner)
    if isinstance(inner, Padding) and isinstance(outer, Convolution):
        return _padded(outer, inner)
    if isinstance(inner, Diagonal) and isinstance(outer, Convolution):
        channels = _per_channel(inner)
        if channels is None:
            return None
        groups, reads = outer.groups, outer.weight.shape[1]
        by_group = channels.reshape(groups, 1, reads).expand(-1, len(outer.weight) // groups, -1)
        weight = outer.weight * by_group.reshape(len(outer.weight), reads, *[1] * len(outer.kernel))
        return _with_weight(outer, weight)
    if isinstance(inner, Convolution) and isinstance(outer, Diagonal):
        channels = _per_channel(outer)
        if channels is None:
            return None
        return _with_weight(inner, inner.weight * channels.reshape(-1, 1, *[1] * len(inner.kernel)))
    if isinstance(inner, Diagonal) and isinstance(outer, Dense) and _last_axis_only(inner):
        return Dense(outer.matrix * inner.weight.reshape(-1), outer.leading)
    if isinstance(inner, Dense) and isinstance(outer, Diagonal) and _last_axis_only(outer):
        return Dense(outer.weight.reshape(-1, 1) * inner.matrix, inner.leading)
    return None


def _rearranged(outer: Rearrange, inner: Rearrange) -> Rearrange | None:
    """A reshape for two that move nothing, or the second of which undoes the first."""
    if inner.still and outer.still:
        return Rearrange(inner.in_shape, outer.out_shape)
    moved = _moved(outer, inner)
    return moved if isinstance(moved, Rearrange) else None


def _moved(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """One selection for two maps that only move values."""
    first, second = positions(inner), positions(outer)
    if first is None or second is None:
        return None
    read = torch.cat([first, first.new_full((1,), -1)])[second]  # −1 of the outer one stays −1
    return gather(inner.in_shape, outer.out_shape, read)


def _padded_twice(outer: Padding, inner: Padding) -> Padding | None:
    """One padding for two that both crop or both add zeros."""
    amounts = [n for padding in (outer, inner) for pair in padding.amounts for n in pair]
    crops, adds = max(amounts) <= 0, min(amounts) >= 0 and outer.mode == inner.mode == "zeros"
    if not crops and not adds:
        return None
    axes = max(len(outer.axes), len(inner.axes))
    pairs = [[(0, 0)] * (axes - len(padding.axes)) + list(padding.amounts) for padding in (outer, inner)]
    return Padding(inner.in_shape, [(a + c, b + d) for (a, b), (c, d) in zip(*pairs, strict=True)])


def _padded(conv: Convolution, padding: Padding) -> Convolution | None:
    """A convolution that pads zeros by itself."""
    axes = len(conv.kernel)
    spatial = len(padding.axes) <= axes and padding.mode == conv.mode == "zeros"
    if not spatial or min(n for pair in padding.amounts for n in pair) < 0:
        return None
    more = [(0, 0)] * (axes - len(padding.axes)) + list(padding.amounts)
    both = [(a + c, b + d) for (a, b), (c, d) in zip(conv.padding, more, strict=True)]
    return Convolution(conv.weight, padding.in_shape, conv.stride, both, conv.dilation, conv.groups)


def _with_weight(like: Convolution, weight: Tensor) -> Convolution:
    return Convolution(weight, like.in_shape, like.stride, like.padding, like.dilation, like.groups, like.mode)


def _per_channel(scale: Diagonal) -> Tensor | None:
    """The weights of a scaling that is constant on each channel of ``(C, *spatial)``, ``(C,)``; else None."""
    full = torch.broadcast_to(scale.weight, scale.in_shape).reshape(scale.in_shape[0], -1)
    return full[:, 0] if bool((full == full[:, :1]).all()) else None


def _last_axis_only(scale: Diagonal) -> bool:
    """Whether the weight is one number or varies along the last axis alone."""
    return scale.weight.numel() in (1, scale.weight.shape[-1] if scale.weight.ndim else 1)


def _separable(outer: Kronecker | Padding, inner: Kronecker | Padding) -> Kronecker | None:
    """The products of the matrices of each axis.

    None where two true products meet in fewer values, along an axis, than stand before and after: there the factors
    show the rank, and rounding would hide it in their product.
    """
    axes = range(min(outer.axes.start, inner.axes.start), len(inner.in_shape))
    sizes = [(inner.in_shape[axis], inner.out_shape[axis], outer.out_shape[axis]) for axis in axes]
    rounds = isinstance(outer, Kronecker) and isinstance(inner, Kronecker)
    if rounds and any(between < min(before, after) for before, between, after in sizes):
        return None
    return Kronecker([_matrix_along(outer, axis) @ _matrix_along(inner, axis) for axis in axes], inner.in_shape)


def _matrix_along(operator: Kronecker | Padding, axis: int) -> Tensor:
    """What the map does along one axis, as a matrix."""
    if axis not in operator.axes:
        return torch.eye(operator.in_shape[axis], dtype=torch.float64)
    if isinstance(operator, Kronecker):
        return operator.matrices[axis - operator.axes.start]
    read = operator.reads[axis - operator.axes.start]
    matrix = torch.zeros(len(read), operator.in_shape[axis], dtype=torch.float64)
    inside = (read >= 0).nonzero().flatten()
    matrix[inside, read[inside]] = 1
    return matrix


def _only_crops(padding: Padding) -> bool:
    return all(before <= 0 and after <= 0 for before, after in padding.amounts)
