"""The affine operations of neural networks: one builder of the linear map per operation, biases dropped.

Three front ends build their maps here: torch modules (``modules.py``), PyTorch code followed while it runs
(``networks/following``) and ONNX nodes (``networks/onnx``). Each only translates its arguments.

A builder knows no batch axis: ``in_shape`` is the shape of the array that the operation reads, and axes count from the
first one. Axes before those that an operation acts on stay unchanged. A front end whose tensors have a first axis of
one, the batch, leaves that axis out.

Every builder raises a ``ShapeError`` where shapes, axes or sizes do not fit; other errors are named where they occur.

To add an operation: write its builder, add a row to ``tests/maps/test_operations.py``, and translate the arguments in
the front ends that have the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ShapeError, UnknownNameError, UnsupportedLayerError, require_memory
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .jacobian import Jacobian
from .kronecker import Kronecker
from .linear_map import DENSE_LIMIT, LinearMap, Shape, broadcast
from .moves import Gather, Identity, Rearrange, gather
from .padding import Padding
from .pooling import adaptive_matrix, window_matrix
from .properties import positions
from .resizing.pytorch import TORCH_AXES, torch_matrix
from .resizing.registry import LIBRARIES, resizer
from .simplify import compose

Sizes = int | Sequence[int]
"""One number per axis, or one for all axes."""

Amounts = int | str | Sequence[int] | Sequence[tuple[int, int]]
"""Padding of each axis: (before, after), or one number for both; or "same" or "valid" for all axes."""


# --- moving values -----------------------------------------------------------------------------------------


def reshape(in_shape: Shape, out_shape: Shape) -> LinearMap:
    """The same values in the same order, in another shape."""
    return Rearrange(in_shape, out_shape)


def permute(in_shape: Shape, order: Sequence[int]) -> LinearMap:
    """A permutation of the axes: axis i of the output is axis ``order[i]`` of the input."""
    order = [axis % len(in_shape) for axis in order]
    return Rearrange(in_shape, tuple(in_shape[axis] for axis in order), order=order)


def numbered(in_shape: Shape) -> Tensor:
    """The numbers of the values of an array, from 1, float64 ``in_shape``: the operand for ``move``."""
    return torch.arange(1, prod(in_shape) + 1, dtype=torch.float64).reshape(in_shape)


def move(in_shape: Shape, moved: Tensor, candidates: Sequence[LinearMap | None] = ()) -> LinearMap:
    """The map of an operation each of whose outputs is an input value or a constant, such as a slice, flip or roll.

    Args:
        in_shape: Shape of the array that is read.
        moved: Result of the operation on ``numbered(in_shape)``; 0 where it writes constants.
        candidates: Maps of known structure; the first one that moves the values to the same places is returned.

    Returns:
        The simplest map: a reshape, a candidate, zero padding or cropping, or a ``Gather``.
    """
    read = moved.flatten().round().long() - 1
    out_shape = tuple(moved.shape)
    found = gather(in_shape, out_shape, read)
    if isinstance(found, Gather):
        for candidate in (*candidates, _crop_or_pad(in_shape, out_shape, read)):
            if candidate is not None and candidate.out_shape == out_shape:
                same = positions(candidate)
                if same is not None and torch.equal(same, read):
                    return candidate
    return found


def _crop_or_pad(in_shape: Shape, out_shape: Shape, read: Tensor) -> LinearMap | None:
    """The only zero padding and cropping that can read these positions; it follows from the first one."""
    inside = (read >= 0).nonzero().flatten()
    if len(in_shape) != len(out_shape) or not len(inside):
        return None
    there = np.unravel_index(int(inside[0]), out_shape)
    here = np.unravel_index(int(read[inside[0]]), in_shape)
    before = [int(t - h) for t, h in zip(there, here, strict=True)]
    return axis_padding(in_shape, [(b, o - i - b) for b, i, o in zip(before, in_shape, out_shape, strict=True)])


def axis_padding(in_shape: Shape, amounts: Sequence[tuple[int, int]], mode: str = "zeros") -> Padding | None:
    """The map ``Padding`` by (before, after) along each of the last axes, restricted to the axes that change.

    Returns:
        None if the first axis is padded, no axis is padded, or the amounts are not possible.
    """
    changed = [index for index, pair in enumerate(amounts) if tuple(pair) != (0, 0)]
    if not changed or len(amounts) - changed[0] >= len(in_shape):
        return None
    try:
        return Padding(in_shape, amounts[changed[0] :], mode)
    except ShapeError:
        return None


def pad(in_shape: Shape, amounts: Sequence[tuple[int, int]], mode: str = "zeros") -> LinearMap:
    """Padding, or cropping by negative amounts. A constant border is a bias, so its linear part pads with zeros.

    Args:
        in_shape: Shape of the array.
        amounts: (before, after) for each of the last axes, first axis first.
        mode: One of ``padding.PADDING_MODES``.

    Raises:
        UnknownNameError: No such mode exists.
    """
    if len(amounts) < len(in_shape):
        return Padding(in_shape, amounts, mode)
    unbatched = Padding((1, *in_shape), amounts, mode)
    read = positions(unbatched)
    assert read is not None
    return gather(in_shape, unbatched.out_shape[1:], read)


def expand(in_shape: Shape, out_shape: Shape) -> LinearMap:
    """Broadcasting to a larger shape."""
    if tuple(in_shape) == tuple(out_shape):
        return Identity(in_shape)
    try:
        repeated = numbered(in_shape).expand(out_shape)
    except RuntimeError as error:
        raise ShapeError(f"an array {tuple(in_shape)} does not broadcast to {tuple(out_shape)}") from error
    return gather(in_shape, out_shape, repeated.flatten().long() - 1)


def pixel_shuffle(in_shape: Shape, factor: int, blocks_first: bool = False) -> LinearMap:
    """``(…, C·r², H, W)`` to ``(…, C, H·r, W·r)``: channels become the pixels of r × r blocks.

    Args:
        in_shape: Shape of the array, three axes or more.
        factor: The side r of a block.
        blocks_first: Whether the channels are ordered as (r, r, C), ONNX's "DCR"; else as (C, r, r), torch's order.
    """
    *lead, channels, height, width = _at_least(in_shape, 3, "a pixel shuffle")
    r, inner = factor, channels // factor**2
    split, order = ((r, r, inner), (2, 3, 0, 4, 1)) if blocks_first else ((inner, r, r), (0, 3, 1, 4, 2))
    out = (*lead, inner, height * r, width * r)
    return Rearrange(in_shape, out, (*lead, *split, height, width), _behind(lead, order))


def pixel_unshuffle(in_shape: Shape, factor: int, blocks_first: bool = False) -> LinearMap:
    """``(…, C, H·r, W·r)`` to ``(…, C·r², H, W)``: the pixels of r × r blocks become channels. As ``pixel_shuffle``."""
    *lead, channels, height, width = _at_least(in_shape, 3, "a pixel unshuffle")
    r = factor
    order = (2, 4, 0, 1, 3) if blocks_first else (0, 2, 4, 1, 3)
    out = (*lead, channels * r**2, height // r, width // r)
    return Rearrange(in_shape, out, (*lead, channels, height // r, r, width // r, r), _behind(lead, order))


# --- value by value ----------------------------------------------------------------------------------------


def multiply(in_shape: Shape, factor: Tensor | float) -> LinearMap:
    """Element-wise product with a constant, with broadcasting."""
    weight = factor.detach().double() if isinstance(factor, Tensor) else torch.tensor(factor, dtype=torch.float64)
    try:
        whole = broadcast(in_shape, weight.shape)
    except RuntimeError as error:
        raise ShapeError(f"arrays {tuple(in_shape)} and {tuple(weight.shape)} do not broadcast") from error
    return compose(expand(in_shape, whole), Diagonal(weight, whole))


def summand(in_shape: Shape, out_shape: Shape, factor: float = 1.0) -> LinearMap:
    """One term of a sum with broadcasting: an array times a number, broadcast to the shape of the sum."""
    term = expand(in_shape, out_shape)
    return term if factor == 1 else compose(term, multiply(term.out_shape, factor))


def batch_norm(in_shape: Shape, variance: Tensor, eps: float, weight: Tensor | None = None, axis: int = 0) -> LinearMap:
    """Batch normalisation with fixed statistics: a scaling by weight / √(variance + eps) per channel.

    Args:
        in_shape: Shape of the array.
        variance: Running variance per channel, ``(C,)``.
        eps: Number that is added to the variance.
        weight: Learnt scaling per channel, ``(C,)``; 1 if None.
        axis: The axis of the channels.
    """
    axis %= len(in_shape)
    if in_shape[axis] != len(variance):
        raise ShapeError(f"a batch norm of {len(variance)} channels cannot read axis {axis} of an input {in_shape}")
    scale = (variance.detach().double() + eps).rsqrt()
    if weight is not None:
        scale = scale * weight.detach().double()
    return Diagonal(scale.reshape(-1, *[1] * (len(in_shape) - 1 - axis)), in_shape)


# --- products and sums -------------------------------------------------------------------------------------


def linear(in_shape: Shape, weight: Tensor) -> LinearMap:
    """A fully-connected layer: W x on the last axis.

    Args:
        in_shape: Shape of the array, ``(…, in_features)``.
        weight: W, ``(out_features, in_features)``.
    """
    if not in_shape or in_shape[-1] != weight.shape[-1]:
        raise ShapeError(f"a linear layer reads {weight.shape[-1]} features on the last axis, the input is {in_shape}")
    return Dense(weight, in_shape[:-1])


def matmul(in_shape: Shape, matrix: Tensor, left: bool = False) -> LinearMap:
    """The product x M of an array x with a constant M, or M x if ``left``, as ``numpy.matmul`` defines it.

    Args:
        in_shape: Shape of x: a vector, a matrix, or matrices in the last two axes.
        matrix: M: a vector, a matrix, or matrices in the last two axes, their other axes broadcast with those of x.
        left: Whether the constant is the left factor.
    """
    matrix = matrix.detach().double()
    if not in_shape or not matrix.ndim:
        raise ShapeError(f"a matrix product needs at least one axis each, got {in_shape} and {tuple(matrix.shape)}")
    if matrix.ndim == 1 and len(in_shape) > 1 and left:
        product = matmul(in_shape, matrix[None], left)
        return compose(product, reshape(product.out_shape, (*in_shape[:-2], in_shape[-1])))
    if matrix.ndim == 1:
        product = linear(in_shape, matrix[None])
        return compose(product, reshape(product.out_shape, in_shape[:-1] or (1,)))
    batch = matrix.shape[:-2]
    alone = matrix[(slice(0, 1),) * len(batch)]
    if batch == torch.Size(in_shape[:-2])[len(in_shape) - 2 - len(batch) :] and bool((alone == matrix).all()):
        matrix, batch = alone, alone.shape[:-2]  # the same matrix everywhere
    if prod(batch) > 1:
        return _batched_matmul(in_shape, matrix, left)
    matrix = matrix.reshape(matrix.shape[-2:])
    if left and len(in_shape) > 1:
        swap = (*range(len(in_shape) - 2), -1, -2)
        turned = permute(in_shape, swap)
        applied = linear(turned.out_shape, matrix)
        product = compose(turned, applied, permute(applied.out_shape, swap))
    else:
        product = linear(in_shape, matrix if left else matrix.T)
    missing = (1,) * (len(batch) - max(len(in_shape) - 2, 0))
    return compose(product, reshape(product.out_shape, (*missing, *product.out_shape))) if missing else product


def _batched_matmul(in_shape: Shape, matrix: Tensor, left: bool) -> LinearMap:
    """A product with several matrices, as a convolution in one dimension with a group of channels per matrix."""
    vector = len(in_shape) == 1
    x = tuple(in_shape) if not vector else (*in_shape, 1) if left else (1, *in_shape)
    rows, columns = x[-2:]
    try:
        batch = broadcast(x[:-2], matrix.shape[:-2])
    except RuntimeError as error:
        raise ShapeError(f"matrices {tuple(matrix.shape)} cannot be multiplied with an input {in_shape}") from error
    read, free = (rows, columns) if left else (columns, rows)
    weight = matrix if left else matrix.mT
    if weight.shape[-1] != read:
        raise ShapeError(f"matrices {tuple(matrix.shape)} cannot be multiplied with an input {in_shape}")
    written = weight.shape[-2]
    weight = weight.expand(*batch, written, read).reshape(-1, read, 1)
    count = prod(batch)
    swap = (*range(len(batch)), len(batch) + 1, len(batch))
    start = compose(reshape(in_shape, x), expand(x, (*batch, rows, columns)))
    turned = start if left else compose(start, permute(start.out_shape, swap))
    flat = reshape(turned.out_shape, (count * read, free))
    product = Convolution(weight, flat.out_shape, (1,), [(0, 0)], (1,), groups=count)
    whole = compose(turned, flat, product, reshape(product.out_shape, (*batch, written, free)))
    if not left:
        whole = compose(whole, permute(whole.out_shape, swap))
    return compose(whole, reshape(whole.out_shape, (*batch, written))) if vector else whole


def einsum(in_shape: Shape, equation: str, operands: Sequence[Tensor | None]) -> LinearMap:
    """A sum of products in Einstein's notation, linear in one operand; applied by automatic differentiation.

    Args:
        in_shape: Shape of the operand that varies.
        equation: As ``torch.einsum`` reads it.
        operands: The constants; None at the place of the operand that varies.
    """

    def function(x: Tensor) -> Tensor:
        return torch.einsum(equation, *(x if each is None else each.to(x.dtype) for each in operands))

    return Jacobian(function, in_shape, name="einsum", affine=True)


def reduce_sum(in_shape: Shape, axes: Sequence[int], average: bool = False) -> LinearMap:
    """The sum over axes, which are left out, or the mean: a product with a matrix of one row.

    Args:
        in_shape: Shape of the array.
        axes: The axes that are summed over.
        average: Whether the sum is divided by the number of its terms.
    """
    reduced = sorted({axis % len(in_shape) for axis in axes})
    kept = [axis for axis in range(len(in_shape)) if axis not in reduced]
    count = prod(in_shape[axis] for axis in reduced)
    leading = tuple(in_shape[axis] for axis in kept)
    row = torch.full((1, count), 1 / count if average else 1.0, dtype=torch.float64)
    turned = Rearrange(in_shape, (*leading, count), in_shape, [*kept, *reduced])
    return compose(turned, Dense(row, leading), Rearrange((*leading, 1), leading or (1,)))


# --- convolutions and windows ------------------------------------------------------------------------------


def convolution(
    in_shape: Shape,
    weight: Tensor,
    stride: Sizes = 1,
    padding: Amounts = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    mode: str = "zeros",
) -> LinearMap:
    """Cross-correlation with kernels, in one, two or three dimensions.

    Args:
        in_shape: ``(C_in, *spatial)``, or ``(N, C_in, *spatial)`` for several images.
        weight: Kernels ``(C_out, C_in / groups, *kernel)``.
        stride: Stride per axis.
        padding: Padding per axis, "same" or "valid".
        dilation: Dilation per axis.
        groups: Number of groups of channels that are read separately.
        mode: What stands outside the image, one of ``padding.PADDING_MODES``.
    """
    axes = weight.ndim - 2
    images, shape = _as_groups(in_shape, axes)
    steps = _per_axis(dilation, axes)
    pairs = _padding(padding, tuple(weight.shape[2:]), steps)
    weight = weight.repeat(images, *[1] * (axes + 1)) if images > 1 else weight
    found = Convolution(weight, shape, _per_axis(stride, axes), pairs, steps, groups * images, mode)
    return _of_images(found, in_shape, images, axes)


def transposed_convolution(
    in_shape: Shape,
    weight: Tensor,
    stride: Sizes = 1,
    padding: Amounts = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    output_padding: Sizes = 0,
) -> LinearMap:
    """A transposed convolution: the adjoint of the convolution that reads what this one writes.

    Args:
        in_shape: ``(C_in, *spatial)``, or ``(N, C_in, *spatial)`` for several images.
        weight: Kernels ``(C_in, C_out / groups, *kernel)``.
        stride: Stride per axis of that convolution.
        padding: Padding per axis of that convolution; these pixels are left out of the output.
        dilation: Dilation per axis.
        groups: Number of groups of channels that are read separately.
        output_padding: Number of pixels per axis that are added at the far end of the output.
    """
    axes = weight.ndim - 2
    images, shape = _as_groups(in_shape, axes)
    channels, *sizes = shape
    if channels != images * len(weight) or len(sizes) != axes:
        raise ShapeError(f"a transposed convolution reads {len(weight)} channels, the input is {in_shape}")
    strides, steps = _per_axis(stride, axes), _per_axis(dilation, axes)
    kernel = tuple(weight.shape[2:])
    pairs = _padding(padding, kernel, steps)
    out = tuple(
        (n - 1) * s - sum(pair) + d * (k - 1) + more + 1
        for n, s, pair, d, k, more in zip(
            sizes, strides, pairs, steps, kernel, _per_axis(output_padding, axes), strict=True
        )
    )
    groups *= images
    weight = weight.repeat(images, *[1] * (axes + 1)) if images > 1 else weight
    reader = Convolution(weight, (weight.shape[1] * groups, *out), strides, pairs, steps, groups)
    # If the output padding exceeds the stride, that convolution has positions that the input does not fill.
    beyond = [(0, there - here) for there, here in zip(reader.out_shape[1:], sizes, strict=True)]
    found = reader.T if reader.out_shape == shape else compose(Padding(shape, beyond), reader.T)
    return _of_images(found, in_shape, images, axes)


def average_pool(
    in_shape: Shape,
    kernel: Sequence[int],
    stride: Sizes | None = None,
    padding: Amounts = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> LinearMap:
    """Means over windows of the last axes.

    Args:
        in_shape: Shape of the array, ``(…, *spatial)``.
        kernel: Size of a window per axis.
        stride: Stride per axis; the size of a window if None.
        padding: Padding per axis with zeros.
        dilation: Distance of the pixels of a window per axis.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether padded zeros count in the mean.
        divisor: Number that divides the sum instead of the number of pixels.
    """
    axes = len(kernel)
    steps = _per_axis(dilation, axes)
    pairs = _padding(padding, tuple(kernel), steps)
    strides = tuple(kernel) if stride is None else _per_axis(stride, axes)
    matrices = [
        window_matrix(*each, ceil_mode, count_include_pad, as_sum=divisor is not None)
        for each in zip(in_shape[-axes:], kernel, strides, pairs, steps, strict=True)
    ]
    if divisor is not None:
        matrices[0] = matrices[0] / divisor
    return Kronecker(matrices, in_shape)


def adaptive_average_pool(in_shape: Shape, size: Sequence[int | None]) -> LinearMap:
    """Means over windows that divide the last axes evenly; into one value each it is global average pooling.

    Args:
        in_shape: Shape of the array, ``(…, *spatial)``.
        size: Number of windows of each of the last axes; None leaves an axis as it is.
    """
    axes = zip(in_shape[-len(size) :], size, strict=True)
    return Kronecker([adaptive_matrix(n, n if wanted is None else wanted) for n, wanted in axes], in_shape)


def resize(
    in_shape: Shape,
    size: Sequence[int] | None,
    mode: str = "bilinear",
    *,
    scale: Sequence[float] | None = None,
    align_corners: bool = False,
    antialias: bool = False,
    convention: str = "torch",
) -> Kronecker:
    """Interpolation of the last axes to other sizes, as torch or another library does it.

    Args:
        in_shape: Shape of the array, ``(…, *spatial)``.
        size: Sizes of the last axes of the output, in pixels; the sizes by ``scale``, rounded down, if None.
        mode: The interpolation: one of ``resizing.pytorch.TORCH_AXES``, or a mode of the other library.
        scale: Factor per axis from which torch computes positions; if None, it computes them from the sizes.
        align_corners: Whether torch aligns the centres of the corner pixels of both images.
        antialias: Whether torch widens the filter where the image shrinks; for other libraries the mode says so.
        convention: "torch", or another library of ``resizing.registry.LIBRARIES``; these resize the last two axes.

    Raises:
        UnknownNameError: No such mode or convention exists.
        UnsupportedLayerError: torch does not have this mode with these options.
        TooLargeError: The matrix along an axis would be too large.
    """
    if size is None:
        if scale is None:
            raise ShapeError("a resize needs a size or a scale")
        size = [floor(n * factor) for n, factor in zip(in_shape[-len(scale) :], scale, strict=True)]
    if convention not in LIBRARIES:
        raise UnknownNameError(f"no resize convention is called {convention!r}; there are {', '.join(LIBRARIES)}")
    if convention != "torch":
        other = resizer(f"{convention} {mode}")
        if align_corners or antialias or scale is not None:
            raise UnsupportedLayerError(
                f"the resizes of {convention} take neither align_corners, antialias nor scale factors; leave them out"
            )
        return other.map(in_shape, size)
    if mode not in TORCH_AXES:
        raise UnknownNameError(f"torch has no resize mode {mode!r}; it has {', '.join(TORCH_AXES)}")
    axes = len(size)
    if not 1 <= axes <= len(in_shape) or min(size) < 1:
        raise ShapeError(f"an input {tuple(in_shape)} cannot be resized to {tuple(size)}")
    sides = list(zip(in_shape[-axes:], size, strict=True))
    needed = 16 * max(n * wanted for n, wanted in sides)
    require_memory(f"a resize of {tuple(in_shape)} to {tuple(size)}", needed, DENSE_LIMIT, "take a smaller size")
    if TORCH_AXES[mode] not in (None, axes):
        raise ShapeError(f"{mode} resizes {TORCH_AXES[mode]} axes, not the {axes} of {tuple(size)}")
    factors = [None] * axes if scale is None else scale
    matrices = [
        torch_matrix(n, wanted, mode, axes, antialias, align_corners, factor)
        for (n, wanted), factor in zip(sides, factors, strict=True)
    ]
    return Kronecker(matrices, in_shape)


def resample(in_shape: Shape, matrices: Sequence[Tensor]) -> LinearMap:
    """One matrix along each of the last axes, such as those of ``resizing.onnx_standard.onnx_matrix``.

    Args:
        in_shape: Shape of the array.
        matrices: ``(out, in)`` for each of the last axes, first axis first; the first ones that are the identity are
            left out.
    """
    kept = list(matrices)
    while len(kept) > 1 and torch.equal(kept[0], torch.eye(in_shape[-len(kept)], dtype=torch.float64)):
        kept.pop(0)
    return Kronecker(kept, in_shape)


# --- shapes ------------------------------------------------------------------------------------------------


def reshaped(operator: LinearMap, in_shape: Shape, out_shape: Shape) -> LinearMap:
    """A map with its inputs and outputs in other shapes, such as without a first axis of one."""
    if (operator.in_shape, operator.out_shape) == (tuple(in_shape), tuple(out_shape)):
        return operator
    if isinstance(operator, Rearrange):
        return Rearrange(in_shape, out_shape, operator.view, operator.order)
    if isinstance(operator, Gather):
        return Gather(in_shape, out_shape, operator.read)
    if isinstance(operator, Jacobian):
        function, inner = operator.function, operator.in_shape
        at, name = operator.at.reshape(in_shape), operator.name
        return Jacobian(lambda x: function(x.reshape(inner)).reshape(out_shape), in_shape, at, name, operator.affine)
    return compose(Rearrange(in_shape, operator.in_shape), operator, Rearrange(operator.out_shape, out_shape))


def _at_least(in_shape: Shape, axes: int, what: str) -> Shape:
    if len(in_shape) < axes:
        raise ShapeError(f"{what} needs {axes} axes, the input is {in_shape}")
    return in_shape


def _behind(lead: Sequence[int], order: Sequence[int]) -> list[int]:
    """A permutation of the axes that keeps the leading ones."""
    return [*range(len(lead)), *(len(lead) + axis for axis in order)]


def _per_axis(sizes: Sizes, axes: int) -> tuple[int, ...]:
    """One number per axis, from one for all or from a sequence."""
    found = (int(sizes),) * axes if isinstance(sizes, int) else tuple(int(n) for n in sizes)
    return found * axes if len(found) == 1 else found


def _padding(padding: Amounts, kernel: Shape, dilation: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) per axis."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        around = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(total // 2, total - total // 2) for total in around]
    if isinstance(padding, str):
        raise ShapeError(f"a padding is 'same', 'valid' or numbers, got {padding!r}")
    each: tuple[Any, ...] = (padding,) if isinstance(padding, int) else tuple(padding)
    each = each * len(kernel) if len(each) == 1 else each
    return [(pair, pair) if isinstance(pair, int) else (int(pair[0]), int(pair[1])) for pair in each]


def _as_groups(in_shape: Shape, axes: int) -> tuple[int, Shape]:
    """The number of images, and the shape of one image with the channels of all of them."""
    if len(in_shape) != axes + 2:
        return 1, in_shape
    images, channels, *spatial = in_shape
    return images, (images * channels, *spatial)


def _of_images(operator: LinearMap, in_shape: Shape, images: int, axes: int) -> LinearMap:
    """The map of separate images, from the map of one image with the channels of all of them."""
    if len(in_shape) != axes + 2:
        return operator
    channels, *spatial = operator.out_shape
    return reshaped(operator, in_shape, (images, channels // images, *spatial))
