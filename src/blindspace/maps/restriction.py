"""A linear map on the inputs that are 0 outside a mask: the columns of its matrix at the mask, with structure kept.

A box of values, and all channels or some, leaves convolutions and maps along axes what they are, only smaller: the
outputs that read nothing of the box are left out, and the outputs of one factor are the box of the next. Any other mask
lies in such a box, and is embedded into it by a ``Gather``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .kronecker import Kronecker
from .linear_map import LinearMap
from .moves import Gather, Identity, Rearrange
from .padding import Padding
from .properties import positions
from .simplify import compose

Box = tuple[tuple[int, int], ...]
"""First index, and the one behind the last, along each axis."""


class Restriction(NamedTuple):
    """A map restricted to a mask.

    Attributes:
        operator: The map B = A E, up to outputs that are 0 for every input, which may be left out. Its nullspace is
            that of A among the perturbations that are 0 outside the mask.
        embedding: The map E from the values inside the mask to whole inputs; EᵀE = I.
    """

    operator: LinearMap
    embedding: LinearMap


def restricted(operator: LinearMap, inside: Tensor) -> Restriction:
    """Restrict a map to the values inside a mask.

    Args:
        operator: The map A.
        inside: Whether each input value is inside, bool ``in_shape``; at least one is.
    """
    factors = compose(operator).factors
    flat = _of_flat_inputs(factors, inside)
    if flat is not None:
        return flat
    box = _bounding_box(inside)
    within_box = inside[tuple(slice(first, last) for first, last in box)]
    cropped = _cropped(factors, box)
    if bool(within_box.all()):
        return Restriction(compose(*cropped), _placed(tuple(inside.shape), box))
    embedding = _scattered(inside)
    return Restriction(compose(_scattered(within_box), *cropped), embedding)


def _bounding_box(inside: Tensor) -> Box:
    places = inside.nonzero()
    return tuple(zip(places.amin(0).tolist(), (places.amax(0) + 1).tolist(), strict=True))


def _scattered(inside: Tensor) -> Gather:
    """The map from a vector of the values inside a mask to the whole."""
    read = torch.full((inside.numel(),), -1)
    count = int(inside.sum())
    read[inside.flatten()] = torch.arange(count)
    return Gather((count,), tuple(inside.shape), read)


def _placed(shape: tuple[int, ...], box: Box) -> LinearMap:
    """The map from a box of values to the whole."""
    sizes = tuple(last - first for first, last in box)
    if len(shape) == 1 or sizes[0] < shape[0]:  # padding leaves the first axis as it is
        inside = torch.zeros(shape, dtype=torch.bool)
        inside[tuple(slice(*ends) for ends in box)] = True
        return compose(Rearrange(sizes, (int(inside.sum()),)), _scattered(inside))
    return Padding(sizes, [(first, n - last) for (first, last), n in zip(box[1:], shape[1:], strict=True)])


def _of_flat_inputs(factors: Sequence[LinearMap], inside: Tensor) -> Restriction | None:
    """The restriction of a fully-connected layer that reads all input values in some order; None of other maps."""
    at = next((n for n, factor in enumerate(factors) if positions(factor) is None), len(factors))
    if at == len(factors) or not isinstance(dense := factors[at], Dense) or dense.leading:
        return None
    embedding = _scattered(inside)
    read = positions(compose(embedding, *factors[:at]))
    if read is None:
        return None
    matrix = torch.zeros(len(dense.matrix), embedding.in_dim, dtype=torch.float64)
    read_at_all = read >= 0
    matrix.index_add_(1, read[read_at_all], dense.matrix[:, read_at_all])
    return Restriction(compose(Dense(matrix), *factors[at + 1 :]), embedding)


def _cropped(factors: Sequence[LinearMap], box: Box) -> list[LinearMap]:
    """Factors of the same map for inputs given on a box, outside which they are 0; outputs that stay 0 may be lost."""
    done: list[LinearMap] = []
    for at, factor in enumerate(factors):
        if all(ends == (0, n) for ends, n in zip(box, factor.in_shape, strict=True)):
            return [*done, *factors[at:]]
        found = _cropped_factor(factor, box)
        if found is None:
            return [*done, _placed(factor.in_shape, box), *factors[at:]]
        cropped, box = found
        done.append(cropped)
    return done


def _cropped_factor(factor: LinearMap, box: Box) -> tuple[LinearMap, Box] | None:
    """One factor on a box of its inputs, and the box of its outputs; None if there is no smaller map of its kind."""
    match factor:
        case Convolution():
            return _cropped_convolution(factor, box)
        case Kronecker():
            return _cropped_kronecker(factor, box)
        case Diagonal():
            missing = len(factor.in_shape) - factor.weight.ndim
            weight = factor.weight.reshape(*(1,) * missing, *factor.weight.shape)
            for axis, (first, last) in enumerate(box):
                if weight.shape[axis] > 1:
                    weight = weight.narrow(axis, first, last - first)
            return Diagonal(weight, tuple(last - first for first, last in box)), box
        case Padding(mode="zeros"):
            return _cropped_padding(factor, box)
    return None


def _cropped_convolution(conv: Convolution, box: Box) -> tuple[LinearMap, Box] | None:
    wraps = conv.mode != "zeros" and any(n > 0 for pair in conv.padding for n in pair)
    if conv.groups > 1 or wraps:
        return None
    (first_channel, last_channel), *ends = box
    padding, reached = [], [(0, len(conv.weight))]
    axes = zip(ends, conv.padding, conv.kernel, conv.stride, conv.dilation, conv.out_shape[1:], strict=True)
    for (first, last), (before, _), k, s, d, count in axes:
        reach = d * (k - 1)
        # Output o reads from o s − before to o s − before + reach.
        start = max(-(-(first + before - reach) // s), 0)
        stop = min((last - 1 + before) // s, count - 1)
        if stop < start:
            return None
        padding.append((first + before - start * s, stop * s - before + reach - (last - 1)))
        reached.append((start, stop + 1))
    weight = conv.weight[:, first_channel:last_channel]
    # Values of the box beside those read are cut off first: solvers serve convolutions that pad by at least 0.
    unread = Padding(tuple(last - first for first, last in box), [(min(a, 0), min(b, 0)) for a, b in padding])
    around = [(max(a, 0), max(b, 0)) for a, b in padding]
    return compose(unread, Convolution(weight, unread.out_shape, conv.stride, around, conv.dilation)), tuple(reached)


def _cropped_kronecker(operator: Kronecker, box: Box) -> tuple[LinearMap, Box] | None:
    matrices, reached = [], list(box)
    for axis, matrix in zip(operator.axes, operator.matrices, strict=True):
        columns = matrix[:, slice(*box[axis])]
        rows = columns.any(1).nonzero().flatten().tolist()
        if not rows:
            return None
        reached[axis] = (rows[0], rows[-1] + 1)
        matrices.append(columns[rows[0] : rows[-1] + 1])
    return Kronecker(matrices, tuple(last - first for first, last in box)), tuple(reached)


def _cropped_padding(padding: Padding, box: Box) -> tuple[LinearMap, Box] | None:
    sizes = tuple(last - first for first, last in box)
    amounts, reached = [], list(box)
    for axis, (before, _) in zip(padding.axes, padding.amounts, strict=True):
        first, last = (end + before for end in box[axis])
        start, stop = max(first, 0), min(last, padding.out_shape[axis])
        if stop <= start:
            return None
        reached[axis] = (start, stop)
        amounts.append((first - start, stop - last))
    kept = all(pair == (0, 0) for pair in amounts)
    return Identity(sizes) if kept else Padding(sizes, amounts), tuple(reached)
