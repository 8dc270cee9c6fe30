"""Rewriting of compositions, sums and stacks of maps into fewer maps of known structure, which fast solvers serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm, prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ShapeError
from .centring import Centring, deviations
from .content_key import map_key
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .joined import Summed, VStack
from .kronecker import Kronecker
from .linear_map import Adjoint, Composed, LinearMap, Shape, check_fit
from .moves import Gather, Identity, Rearrange, gather
from .padding import Padding
from .properties import (
    channel_weights,
    is_identity,
    is_injective,
    isometry_constant,
    monomial,
    only_crops,
    positions,
    reads_disjoint_patches,
    varies_on_last_axis_only,
)

LARGEST_PATCH = 4096
"""Values per patch up to which convolutions of several patch sizes are rewritten to one common patch size."""

# --- compositions ------------------------------------------------------------------------------------------


def compose(*factors: LinearMap) -> LinearMap:
    """The composition of maps, folded into as few factors as their structure allows.

    Scalings are folded into the convolution or matrix that reads or writes them, crops and other maps that act along
    axes into one ``Kronecker``, and a scaling of channels moves outwards past a resize, crop or padding. So resize,
    crop, normalisation and convolution become one resize and one convolution. A centring moves inwards past maps that
    commute with it, into the matrix or kernels before them. The product is the same up to rounding.

    Args:
        factors: The maps, the first one applied first; at least one.

    Raises:
        ShapeError: There are no maps, or the shapes of two neighbours differ.
    """
    if not factors:
        raise ShapeError("a composition needs at least one map, got no maps")
    whole: list[LinearMap] = []
    for factor in factors:
        for part in factor.factors:
            if not is_identity(part):
                _append(whole, part)
    result = whole[0] if whole else Identity(factors[0].in_shape)
    for part in whole[1:]:
        result = Composed(part, result)
    return result


def _append(whole: list[LinearMap], outer: LinearMap) -> None:
    """Append a map to a list of factors in normal form and restore the normal form."""
    if not whole:
        whole.append(outer)
        return
    inner = whole[-1]
    check_fit(outer, inner)
    moved = _moved_outwards(inner, outer) if isinstance(inner, Diagonal) else None
    joined = _joined_along_axes(whole[-2], inner, outer) if len(whole) > 1 else None
    inwards = _moved_inwards(outer, inner) if isinstance(outer, Centring) else None
    folded = fold(outer, inner)
    if inwards is not None:
        whole.pop()
        for part in inwards:
            if not is_identity(part):
                _append(whole, part)
    elif moved is not None:
        whole.pop()
        _append(whole, outer)
        _append(whole, moved)
    elif joined is not None:
        del whole[-2:]
        for part in joined:
            _append(whole, part)
    elif folded is not None:
        whole.pop()
        if not is_identity(folded):
            _append(whole, folded)
    else:
        whole.append(outer)


def _moved_outwards(scale: Diagonal, outer: LinearMap) -> Diagonal | None:
    """The scaling D′ with D′ ∘ outer = outer ∘ scale; None if the two do not commute."""
    if not isinstance(outer, Kronecker | Padding):
        return None
    missing = len(scale.in_shape) - scale.weight.ndim
    weight = scale.weight.reshape(*(1,) * missing, *scale.weight.shape)
    constant = weight
    for axis in outer.axes:
        constant = constant.narrow(axis, 0, 1)
    return Diagonal(constant, outer.out_shape) if bool((constant == weight).all()) else None


def _joined_along_axes(first: LinearMap, turn: LinearMap, outer: LinearMap) -> list[LinearMap] | None:
    """Two matrices over different axes, with a permutation of the axes between, as one ``Kronecker`` before it.

    None if the three maps are others.
    """
    if not isinstance(turn, Rearrange) or not isinstance(outer, Dense):
        return None
    view, axis = turn.view, turn.order[-1]
    whole: list[LinearMap] = [first]
    if isinstance(first, Dense) and view[-1] == first.out_shape[-1]:  # its tokens may be viewed along several axes
        inner = Dense(first.matrix, view[:-1])
        whole = [Rearrange(first.in_shape, inner.in_shape), inner]
    elif not isinstance(first, Kronecker) or view != turn.in_shape:
        return None
    if axis == len(view) - 1 or view[axis] != outer.in_shape[-1]:
        return None
    others = [torch.eye(n, dtype=torch.float64) for n in view[axis + 1 :]]
    view = (*view[:axis], outer.out_shape[-1], *view[axis + 1 :])
    along = Kronecker([outer.matrix, *others], turn.view)
    return [*whole, along, Rearrange(view, outer.out_shape, view, turn.order)]


def _moved_inwards(outer: Centring, inner: LinearMap) -> list[LinearMap] | None:
    """Maps, the first one applied first, whose composition is ``outer ∘ inner`` and which centre earlier; else None."""
    match inner:
        case Dense(out_shape=shape) if outer.axes == (len(shape) - 1,):
            return [Dense(deviations(inner.matrix.T).T, inner.leading)]
        case Convolution(groups=1) if outer.axes == (0,):
            kernels = deviations(inner.weight.movedim(0, -1)).movedim(-1, 0)
            return [conv := _with_weight(inner, kernels), _first_axis_last(conv.out_shape)]
        case Kronecker() if inner.axes.start > 0 and outer.axes == (0,):
            return _past_kronecker(outer, inner)
        case Diagonal():
            weight = torch.broadcast_to(inner.weight, inner.in_shape).flatten()[outer.groups()]
            if not bool((weight == weight[:, :1]).all()):
                return None
            return [outer, Diagonal(weight[:, :1].reshape(*outer.out_shape[:-1], 1), outer.out_shape)]
    return _past_moves(outer, inner)


def _first_axis_last(shape: Shape) -> LinearMap:
    return Rearrange(shape, (*shape[1:], shape[0]), order=(*range(1, len(shape)), 0))


def _past_kronecker(outer: Centring, inner: Kronecker) -> list[LinearMap]:
    """A centring along the first axis before matrices along the others."""
    first = Centring(inner.in_shape, outer.axes)
    *others, last = range(len(first.out_shape))
    back = Rearrange(first.out_shape, (outer.count - 1, *first.out_shape[:-1]), order=(last, *others))
    along = Kronecker(inner.matrices, back.out_shape)
    return [first, back, along, _first_axis_last(along.out_shape)]


def _past_moves(outer: Centring, inner: LinearMap) -> list[LinearMap] | None:
    """A centring before a map that moves values, if each group of values with one mean is moved as a whole."""
    read = positions(inner)
    if read is None:
        return None
    moved = read[outer.groups()]
    kept = (moved >= 0).all(1)
    if bool((moved[~kept] >= 0).any()) or not bool(kept.any()):
        return None
    before = np.array(np.unravel_index(moved[kept][0].numpy(), inner.in_shape))
    axes = [axis for axis, places in enumerate(before) if places.min() < places.max()]
    if prod(inner.in_shape[axis] for axis in axes) != outer.count:
        return None
    first = Centring(inner.in_shape, axes)
    groups = first.groups()
    group_of = torch.full((inner.in_dim,), -1)
    group_of[groups[:, 0]] = torch.arange(len(groups))
    found = group_of[moved[kept][:, 0]]
    if bool((found < 0).any()) or not torch.equal(groups[found], moved[kept]):
        return None
    after = torch.full((len(moved), outer.count - 1), -1)
    after[kept] = torch.arange(first.out_dim).reshape(len(groups), -1)[found]
    return [first, gather(first.out_shape, outer.out_shape, after.flatten())]


def fold(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """``outer ∘ inner`` as one map of known structure; None if there is none."""
    match outer, inner:
        case Kronecker(), Kronecker() | Padding():
            return _kronecker(outer, inner)
        case Kronecker(), Dense():
            return _kronecker(outer, Kronecker([inner.matrix], inner.in_shape))
        case Dense(), Kronecker():
            return _kronecker(Kronecker([outer.matrix], outer.in_shape), inner)
        case Padding(), Kronecker() if only_crops(outer):
            return _kronecker(outer, inner)
        case Rearrange(), Rearrange():
            return _rearranged(outer, inner)
        case (Gather(), _) | (_, Gather()):
            return _gathered(outer, inner)
        case Diagonal(), Diagonal():
            return Diagonal(outer.weight * inner.weight, outer.in_shape)
        case Padding(), Padding():
            return _padded_twice(outer, inner)
        case Convolution(), Padding():
            return _padded(outer, inner)
        case Convolution(), Diagonal():
            channels = channel_weights(inner)
            return None if channels is None else _with_scaled_inputs(outer, channels)
        case Diagonal(), Convolution():
            channels = channel_weights(outer)
            if channels is None:
                return None
            return _with_weight(inner, inner.weight * channels.reshape(-1, 1, *[1] * len(inner.kernel)))
        case Dense(), Diagonal() if varies_on_last_axis_only(inner):
            return Dense(outer.matrix * inner.weight.reshape(-1), outer.leading)
        case Diagonal(), Dense() if varies_on_last_axis_only(outer):
            return Dense(outer.weight.reshape(-1, 1) * inner.matrix, inner.leading)
    return None


def _rearranged(outer: Rearrange, inner: Rearrange) -> Rearrange | None:
    """One map for two, one of which keeps the order of the values, or the second of which restores it."""
    if inner.keeps_order:
        return Rearrange(inner.in_shape, outer.out_shape, outer.view, outer.order)
    if outer.keeps_order:
        return Rearrange(inner.in_shape, outer.out_shape, inner.view, inner.order)
    moved = _gathered(outer, inner)
    return moved if isinstance(moved, Rearrange) else None


def _gathered(outer: LinearMap, inner: LinearMap) -> LinearMap | None:
    """One gathering map for two maps that only move values."""
    first, second = positions(inner), positions(outer)
    if first is None or second is None:
        return None
    read = torch.cat([first, first.new_full((1,), -1)])[second]  # position −1 of the outer map stays −1
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
    """A convolution that includes the zero padding before it."""
    axes = len(conv.kernel)
    spatial = len(padding.axes) <= axes and padding.mode == conv.mode == "zeros"
    if not spatial or min(n for pair in padding.amounts for n in pair) < 0:
        return None
    more = [(0, 0)] * (axes - len(padding.axes)) + list(padding.amounts)
    both = [(a + c, b + d) for (a, b), (c, d) in zip(conv.padding, more, strict=True)]
    return Convolution(conv.weight, padding.in_shape, conv.stride, both, conv.dilation, conv.groups)


def _with_weight(like: Convolution, weight: Tensor) -> Convolution:
    return Convolution(weight, like.in_shape, like.stride, like.padding, like.dilation, like.groups, like.mode)


def _with_scaled_inputs(conv: Convolution, channels: Tensor) -> Convolution:
    """The convolution of inputs whose channels have been multiplied by ``(C_in,)`` numbers."""
    groups, reads = conv.groups, conv.weight.shape[1]
    by_group = channels.reshape(groups, 1, reads).expand(-1, len(conv.weight) // groups, -1)
    return _with_weight(conv, conv.weight * by_group.reshape(len(conv.weight), reads, *[1] * len(conv.kernel)))


def _kronecker(outer: Kronecker | Padding, inner: Kronecker | Padding) -> Kronecker | None:
    """The products of the matrices of each axis.

    None if two resizing matrices meet, along some axis, in fewer values than stand before and after: the rank is
    visible in the factors, and rounding would hide it in their product.
    """
    axes = range(min(outer.axes.start, inner.axes.start), len(inner.in_shape))
    sizes = [(inner.in_shape[axis], inner.out_shape[axis], outer.out_shape[axis]) for axis in axes]
    rounds = isinstance(outer, Kronecker) and isinstance(inner, Kronecker)
    if rounds and any(between < min(before, after) for before, between, after in sizes):
        return None
    return Kronecker([_matrix_along(outer, axis) @ _matrix_along(inner, axis) for axis in axes], inner.in_shape)


def _matrix_along(operator: Kronecker | Padding, axis: int) -> Tensor:
    """The matrix ``(out, in)`` by which the map acts along one axis."""
    if axis not in operator.axes:
        return torch.eye(operator.in_shape[axis], dtype=torch.float64)
    if isinstance(operator, Kronecker):
        return operator.matrices[axis - operator.axes.start]
    read = operator.reads[axis - operator.axes.start]
    matrix = torch.zeros(len(read), operator.in_shape[axis], dtype=torch.float64)
    inside = (read >= 0).nonzero().flatten()
    matrix[inside, read[inside]] = 1
    return matrix


# --- sums --------------------------------------------------------------------------------------------------


def summed(parts: Sequence[LinearMap]) -> LinearMap:
    """The sum of maps, with convolutions, matrices, scalings and moves to different places merged where they fit.

    Values less their mean, as normalisations in code compute them, become a centring and its adjoint.

    Args:
        parts: Maps with the same input shape and the same output shape; at least one.

    Raises:
        ShapeError: There are no maps, or their shapes differ.
    """
    merged: list[LinearMap] = []
    for part in parts:
        for index, other in enumerate(merged):
            both = _sum_of_two(other, part)
            if both is not None:
                merged[index] = both
                break
        else:
            merged.append(part)
    return merged[0] if len(merged) == 1 else Summed(merged)


def _sum_of_two(a: LinearMap, b: LinearMap) -> LinearMap | None:
    """a + b as one map of known structure; None if there is none."""
    if (a.in_shape, a.out_shape) != (b.in_shape, b.out_shape):
        return None
    match a, b:
        case Convolution(), Convolution():
            return _sum_of_kernels(a, b)
        case Dense(), Dense():
            return Dense(a.matrix + b.matrix, a.leading)
        case ((Diagonal() | Identity()), (Diagonal() | Identity())):
            return Diagonal(_diagonal(a) + _diagonal(b), a.in_shape)
    for value, mean in ((a, b), (b, a)):
        if is_identity(value) and (centring := _centring_of(mean)) is not None:
            return Composed(centring.T, centring)
    here, there = monomial(a), monomial(b)
    if here is None or there is None or bool(((here[0] >= 0) & (there[0] >= 0)).any()):
        return None
    moved = gather(a.in_shape, a.out_shape, torch.maximum(here[0], there[0]))
    weight = torch.where(here[0] >= 0, here[1], there[1])
    return moved if bool((weight == 1).all()) else compose(moved, Diagonal(weight.reshape(a.out_shape), a.out_shape))


def _centring_of(mean: LinearMap) -> Centring | None:
    """The centring C with CᵀC = I + ``mean``; None if the map is no negative mean along axes.

    The axes are those of the first value's group, and the map is compared at random points (Freivalds 1979).
    """
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, *mean.in_shape, generator=generator, dtype=torch.float64)
    points[0] = 0
    points[0].view(-1)[0] = 1
    found = mean._forward(points)
    axes = sorted(set(found[0].nonzero().T.ne(0).any(1).nonzero().flatten().tolist()))
    if not axes or mean.in_shape != mean.out_shape:
        return None
    expected = -points.mean([axis + 1 for axis in axes], keepdim=True).expand_as(points)
    return Centring(mean.in_shape, axes) if torch.allclose(found, expected, rtol=1e-13, atol=1e-14) else None


def _diagonal(operator: Diagonal | Identity) -> Tensor:
    weight = operator.weight if isinstance(operator, Diagonal) else torch.ones((), dtype=torch.float64)
    return torch.broadcast_to(weight, operator.in_shape)


def _sum_of_kernels(a: Convolution, b: Convolution) -> Convolution | None:
    """One convolution for two that read and write the same positions: their kernels, aligned and added."""
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


# --- stacks ------------------------------------------------------------------------------------------------


def vstack(parts: Sequence[LinearMap]) -> LinearMap:
    """The stack of maps, convolutions of the same geometry merged into one, and matrices too.

    Merging may change the order of the outputs, hence not the nullspace and not the singular values.

    Args:
        parts: Maps with the same input shape; at least one.

    Raises:
        ShapeError: There are no maps, or their input shapes differ.
    """
    groups: dict[object, list[LinearMap]] = {}
    for part in parts:
        groups.setdefault(_geometry(part), []).append(part)
    whole = [_merged(group) for group in groups.values()]
    return whole[0] if len(whole) == 1 else VStack(whole)


def _geometry(operator: LinearMap) -> object:
    """A key that two maps share if and only if they can be stacked as one."""
    match operator:
        case Convolution(groups=1):
            c = operator
            return c.in_shape, c.kernel, c.stride, c.padding, c.dilation, c.mode
        case Dense():
            return operator.in_shape
    return id(operator)


def _merged(group: list[LinearMap]) -> LinearMap:
    match group:
        case [Convolution() as first, _, *_]:
            return _with_weight(first, torch.cat([each.weight for each in group if isinstance(each, Convolution)]))
        case [Dense() as first, _, *_]:
            return Dense(torch.cat([each.matrix for each in group if isinstance(each, Dense)]), first.leading)
    return group[0]


def side_by_side(maps: Sequence[LinearMap]) -> LinearMap:
    """A map with the nullspace of several stacked maps, in the form that the solvers serve best.

    First factors that all maps share, such as a resize, are applied once; last factors that are injective by structure
    are left out; convolutions of disjoint patches are rewritten to a common patch size.

    Args:
        maps: Maps with the same input shape; at least one. The parts of a ``VStack`` are taken one by one.

    Raises:
        ShapeError: There are no maps, or their input shapes differ.
    """
    parts = [part for operator in maps for part in (operator.parts if isinstance(operator, VStack) else [operator])]
    factors = [_without_injective_moves(part.factors) for part in parts]
    shared = 0
    # The last factor of each stays, so that there is something to stack.
    while shared < min(map(len, factors), default=1) - 1 and _equal([each[shared] for each in factors]):
        shared += 1
    rest = vstack(_in_common_patches([compose(*each[shared:]) for each in factors]))
    return compose(*factors[0][:shared], rest) if shared else rest


def _without_injective_moves(factors: list[LinearMap]) -> list[LinearMap]:
    """The factors without the last ones that only move, pad or scale values and are injective."""
    while len(factors) > 1 and is_injective(factors[-1]):
        factors = factors[:-1]
    return factors


def _equal(maps: Sequence[LinearMap]) -> bool:
    first = map_key(maps[0])
    return all(operator is maps[0] or (first is not None and map_key(operator) == first) for operator in maps)


def _in_common_patches(maps: list[LinearMap]) -> list[LinearMap]:
    """Patch embeddings rewritten to a common patch size, if all maps are patch embeddings; else the maps."""
    patches = [operator for operator in maps if isinstance(operator, Convolution) and _is_patch_embedding(operator)]
    if not maps or len(patches) < len(maps) or len({len(operator.stride) for operator in patches}) > 1:
        return maps
    shape = maps[0].in_shape
    common = tuple(lcm(*sides) for sides in zip(*(operator.stride for operator in patches), strict=True))
    divides = all(size % side == 0 for size, side in zip(shape[1:], common, strict=True))
    if not divides or shape[0] * prod(common) > LARGEST_PATCH:
        return maps
    return [_enlarged(operator, common) for operator in patches]


def _is_patch_embedding(conv: Convolution) -> bool:
    plain = conv.groups == 1 and set(conv.dilation) == {1} and all(amount == (0, 0) for amount in conv.padding)
    return plain and reads_disjoint_patches(conv)


def _enlarged(conv: Convolution, patch: tuple[int, ...]) -> Convolution:
    """The same outputs from larger patches: one kernel for each place of the small patch within the large one."""
    places = [range(0, side, stride) for side, stride in zip(patch, conv.stride, strict=True)]
    kernels = []
    for place in torch.cartesian_prod(*map(torch.tensor, map(list, places))).view(-1, len(patch)).tolist():
        kernel = conv.weight.new_zeros(*conv.weight.shape[:2], *patch)
        window = tuple(slice(at, at + k) for at, k in zip(place, conv.kernel, strict=True))
        kernel[(slice(None), slice(None), *window)] = conv.weight
        kernels.append(kernel)
    return Convolution(torch.cat(kernels), conv.in_shape, patch, conv.padding, conv.dilation)


# --- isometries --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class IsometryFree:
    """A map without its isometric factors.

    Attributes:
        operator: The smaller map L. The map it came from has the singular values of L times ``gain``, and zeros.
        gain: Factor of the singular values.
    """

    operator: LinearMap
    gain: float


def isometry_free(operator: LinearMap) -> IsometryFree:
    """The isometry-free factor of a map: a smaller map with the same singular values, up to a factor and some zeros.

    Factors that are isometries up to a constant, at either end, only multiply the singular values. A first factor M
    with more inputs than outputs is M = L Q with orthonormal rows Q, and L has the same A Aᵀ. Known as an LQ
    factorisation (Golub & Van Loan 2013, section 5.2).

    Args:
        operator: The map, or the adjoint of one.
    """
    if isinstance(operator, Adjoint):
        free = isometry_free(operator.of)
        return IsometryFree(free.operator.T, free.gain)
    factors = compose(operator).factors
    gain = 1.0
    while len(factors) > 1 and (constant := isometry_constant(factors[-1])):
        factors, gain = factors[:-1], gain * constant
    while len(factors) > 1 and (constant := isometry_constant(factors[0].T)):
        factors, gain = factors[1:], gain * constant
    if len(factors) > 1:
        factors = [_without_orthonormal_rows(factors[0]), *factors[1:]]
    return IsometryFree(compose(*factors), gain)


def _without_orthonormal_rows(operator: LinearMap) -> LinearMap:
    """A map of matrices with no more columns than rows, with the same A Aᵀ."""
    if isinstance(operator, Dense):
        return Dense(_lower(operator.matrix), operator.leading)
    if isinstance(operator, Kronecker):
        matrices = [_lower(matrix) for matrix in operator.matrices]
        kept = operator.in_shape[: operator.axes.start]
        return Kronecker(matrices, (*kept, *(matrix.shape[1] for matrix in matrices)))
    return operator


def _lower(matrix: Tensor) -> Tensor:
    """The factor L of M = L Q; M itself if it has no more columns than rows."""
    return matrix if matrix.shape[1] <= matrix.shape[0] else torch.linalg.qr(matrix.T, mode="r").R.T.contiguous()
