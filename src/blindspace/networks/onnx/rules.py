"""The maps of ONNX operations that work things out: convolutions, products, sums, averages, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from torch import Tensor

from ...maps import Convolution, Dense, Diagonal, Identity, Jacobian, Kronecker, LinearMap, Rearrange, Shape, compose
from .call import Call, Terms, fitted, linear, rule, value_shape
from .moves import move

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations that count as linear layers where their weights are constant."""


# --- convolutions and windows ------------------------------------------------------------------------------


class _Window:
    """Where kernels or pooling windows lie.

    Args:
        call: a convolution or a pool.
        kernel: window size an axis.
    """

    def __init__(self, call: Call, kernel: Shape) -> None:
        given = call.attributes
        ones = (1,) * len(kernel)
        self.kernel = kernel
        self.stride: Shape = tuple(given.get("strides", ones))
        self.dilation: Shape = tuple(given.get("dilations", ones))
        self.reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True)]
        self._pads = tuple(given.get("pads", (0,) * 2 * len(kernel)))
        self._auto = given.get("auto_pad", "NOTSET")

    def padding(self, small: Shape, large: Shape) -> list[tuple[int, int]]:
        """(before, after) an axis of the larger image, for so many windows."""
        axes = len(self.kernel)
        if self._auto not in ("SAME_UPPER", "SAME_LOWER"):
            return list(zip(self._pads[:axes], self._pads[axes:], strict=True))
        found = []
        for windows, size, stride, reach in zip(small, large, self.stride, self.reach, strict=True):
            total = max((windows - 1) * stride + reach - size, 0)
            less, more = total // 2, total - total // 2
            found.append((less, more) if self._auto == "SAME_UPPER" else (more, less))
        return found


@linear("Conv")
def _conv(call: Call) -> LinearMap | None:
    weight, tensor = call.weight(1), call.tensor(0)
    window = _Window(call, tuple(weight.shape[2:]))
    return _convolution(call, weight, tensor, window, window.padding(call.outputs[0][2:], tensor[2:]))


@linear("ConvTranspose")
def _conv_transpose(call: Call) -> LinearMap | None:
    """The adjoint of the convolution that reads what this one writes."""
    weight, small, large = call.weight(1), call.tensor(0), call.outputs[0]
    window = _Window(call, tuple(weight.shape[2:]))
    before = _transposed_padding(call, window)
    # However the far end came about: so much is beyond it that the convolution has as many positions as there are.
    padding = [
        (first, (n - 1) * stride + reach - first - size)
        for first, n, stride, reach, size in zip(before, small[2:], window.stride, window.reach, large[2:], strict=True)
    ]
    return _convolution(call, weight, large, window, padding).T


def _convolution(
    call: Call, weight: Tensor, tensor: Shape, window: _Window, padding: list[tuple[int, int]]
) -> LinearMap:
    """Of a tensor's images, several in one input of the network being groups of channels."""
    images, channels, *spatial = tensor
    weight = weight.repeat(images, *[1] * (weight.ndim - 1))
    groups = images * call.attributes.get("group", 1)
    return Convolution(weight, (images * channels, *spatial), window.stride, padding, window.dilation, groups)


def _transposed_padding(call: Call, window: _Window) -> list[int]:
    """What a transposed convolution leaves out before the first pixel, an axis."""
    given = call.attributes
    small, large = call.tensor(0)[2:], call.outputs[0][2:]
    same = given.get("auto_pad", "NOTSET")
    if "output_shape" not in given and same not in ("SAME_UPPER", "SAME_LOWER"):
        return [before for before, _ in window.padding(small, large)]
    extra = given.get("output_padding", (0,) * len(small))
    before = []
    for n, size, stride, reach, more in zip(small, large, window.stride, window.reach, extra, strict=True):
        total = max((n - 1) * stride + more + reach - size, 0)
        before.append(total // 2 if same == "SAME_UPPER" else total - total // 2)
    return before


@linear("AveragePool")
def _average_pool(call: Call) -> LinearMap | None:
    tensor, out = call.tensor(0), call.outputs[0]
    window = _Window(call, tuple(call.attributes["kernel_shape"]))
    padding = window.padding(out[2:], tensor[2:])
    whole = bool(call.attributes.get("count_include_pad", 0))
    matrices = []
    for axis, (before, after) in enumerate(padding):
        size, matrix = tensor[2 + axis], torch.zeros(out[2 + axis], tensor[2 + axis], dtype=torch.float64)
        for row in range(len(matrix)):
            taps = row * window.stride[axis] - before + window.dilation[axis] * np.arange(window.kernel[axis])
            inside = taps[(taps >= 0) & (taps < size)]
            matrix[row, inside] = 1 / (int((taps < size + after).sum()) if whole else max(len(inside), 1))
        matrices.append(matrix)
    return Kronecker(matrices, call.shape(0))


@linear("GlobalAveragePool")
def _global_average_pool(call: Call) -> LinearMap:
    return Kronecker([torch.full((1, n), 1 / n, dtype=torch.float64) for n in call.tensor(0)[2:]], call.shape(0))


# --- products with a matrix --------------------------------------------------------------------------------


@linear("MatMul", reads=(0, 1))
def _matmul(call: Call) -> LinearMap | None:
    (index,) = call.varying
    weight = call.weight(1 - index)
    tensor = call.tensor(index)
    if weight.ndim > 2 and prod(weight.shape[:-2]) == 1 and weight.ndim <= len(tensor):
        weight = weight.reshape(weight.shape[-2:])
    if weight.ndim == 2 and (index == 0 or len(tensor) == 1):
        return Dense(weight.T if index == 0 else weight, _leading(call.shape(index)))
    if weight.ndim == 1 and index == 0:
        return Dense(weight[None], _leading(call.shape(0)))
    if weight.ndim == 2:
        return _from_left(weight, call.shape(index), tensor)
    return _derivative(call, (torch.matmul, lambda x, y: torch.matmul(y, x))[index])


@rule("Gemm")
def _gemm(call: Call) -> list[Terms] | None:
    """α A B + β C, with A or B constant, or neither of them read."""
    given = call.attributes
    terms: Terms = []
    if 0 in call.varying and 1 in call.varying:
        return None
    if 0 in call.varying:
        weight = given.get("alpha", 1.0) * (call.weight(1) if given.get("transB") else call.weight(1).T)
        operator = _from_left(weight, call.shape(0), call.tensor(0)) if given.get("transA") else None
        if operator is not None:  # Bᵀ A, which still is to be turned over
            rows, columns = operator.out_shape[-2:]
            operator = compose(operator, Rearrange(operator.out_shape, (columns, rows), order=(1, 0)))
        terms.append((0, fitted(operator or Dense(weight, _leading(call.shape(0))), call.shape(0), call.out_shape())))
    if 1 in call.varying:
        weight = given.get("alpha", 1.0) * (call.weight(0).T if given.get("transA") else call.weight(0))
        tensor, shape = call.tensor(1), call.shape(1)
        turned = Rearrange(shape, shape)
        if given.get("transB"):
            turned = Rearrange(shape, value_shape(tensor[::-1]), tensor, (1, 0))
            tensor, shape = tensor[::-1], turned.out_shape
        operator = compose(turned, _from_left(weight, shape, tensor))
        terms.append((1, fitted(operator, call.shape(1), call.out_shape())))
    if 2 in call.varying:
        beta = torch.tensor(given.get("beta", 1.0), dtype=torch.float64)
        terms.append((2, compose(_broadcast(call, 2), Diagonal(beta, call.out_shape()))))
    return [terms]


def _leading(shape: Shape) -> Shape:
    return shape[:-1]


def _from_left(weight: Tensor, shape: Shape, tensor: Shape) -> LinearMap:
    """W x of matrices x that fill the last two axes of a tensor."""
    *lead, read, columns = tensor
    last = len(lead)
    swap = [*range(last), last + 1, last]
    turned = (*lead, columns, len(weight))
    return compose(
        Rearrange(shape, (*lead, columns, read), tensor, swap),
        Dense(weight, (*lead, columns)),
        Rearrange(turned, (*lead, len(weight), columns), turned, swap),
    )


@rule("Einsum")
def _einsum(call: Call) -> list[Terms] | None:
    if len(call.varying) != 1:
        return None
    (index,) = call.varying
    weights = [None if i == index else call.weight(i) for i in range(len(call.operands))]
    equation = call.attributes["equation"]
    operator = _derivative(
        call, lambda x, _: torch.einsum(equation, *(x if w is None else w.to(x.dtype) for w in weights))
    )
    return [[(index, operator)]]


def _derivative(call: Call, function: Callable[[Tensor, Tensor], Tensor]) -> LinearMap:
    """Of a function of the operand that varies and of the first that does not: linear, but of no structure."""
    (index,) = call.varying
    tensor, out = call.tensor(index), call.out_shape()
    weight = call.weight(1 - index if index < 2 else 0)

    def shaped(x: Tensor) -> Tensor:
        return function(x.reshape(tensor), weight.to(x.dtype)).reshape(out)

    return Jacobian(shaped, call.shape(index), name=call.op)


# --- value by value ----------------------------------------------------------------------------------------


def _broadcast(call: Call, index: int) -> LinearMap:
    """From an operand to the shape of all together."""
    tensor, whole = call.tensor(index), call.outputs[0]
    if tensor == whole:
        return Identity(call.shape(index))
    numbers = np.arange(1, prod(tensor) + 1).reshape(tensor)
    return move(call.shape(index), np.broadcast_to(numbers, whole))


@rule("Add", "Sub", "Sum", "Mean")
def _added(call: Call) -> list[Terms]:
    terms: Terms = []
    for index in call.varying:
        factor = -1.0 if call.op == "Sub" and index == 1 else 1 / len(call.operands) if call.op == "Mean" else 1.0
        operator = _broadcast(call, index)
        terms.append(
            (
                index,
                operator
                if factor == 1
                else compose(operator, Diagonal(torch.tensor(factor, dtype=torch.float64), operator.out_shape)),
            )
        )
    return [terms]


@linear("Mul", reads=(0, 1))
def _multiplied(call: Call) -> LinearMap:
    return _scaled(call, call.weight(1 - call.varying[0]))


@linear("Div")
def _divided(call: Call) -> LinearMap | None:
    weight = call.weight(1)
    return _scaled(call, 1 / weight) if bool(weight.all()) else None


def _scaled(call: Call, weight: Tensor) -> LinearMap:
    """Times a constant that is as wide as the operand that varies, or wider."""
    whole = call.outputs[0]
    weight = weight.reshape((1,) * (len(whole) - weight.ndim) + tuple(weight.shape))
    weight = weight.squeeze(0) if whole[:1] == (1,) and len(whole) > 1 else weight
    return compose(_broadcast(call, call.varying[0]), Diagonal(weight, call.out_shape()))


@linear("Neg")
def _negated(call: Call) -> LinearMap:
    return Diagonal(torch.tensor(-1.0), call.shape(0))


@linear("BatchNormalization")
def _batch_norm(call: Call) -> LinearMap | None:
    given = call.attributes
    if given.get("training_mode") or not given.get("spatial", 1) or (call.version < 7 and not given.get("is_test")):
        return None
    scale = call.weight(1) * (call.weight(4) + given.get("epsilon", 1e-5)).rsqrt()
    return Diagonal(scale.reshape(-1, *[1] * (len(call.tensor(0)) - 2)), call.shape(0))


@linear("ReduceMean", "ReduceSum")
def _reduced(call: Call) -> LinearMap | None:
    """The axes that are reduced come last, as one row of a matrix."""
    tensor = call.tensor(0)
    axes = call.axes(1)
    if not axes and call.attributes.get("noop_with_empty_axes"):
        return Identity(call.shape(0))
    reduced = sorted(set(axes or range(len(tensor))))
    kept = [axis for axis in range(len(tensor)) if axis not in reduced]
    size = prod(tensor[axis] for axis in reduced)
    leading = tuple(tensor[axis] for axis in kept)
    row = torch.full((1, size), 1 / size if call.op == "ReduceMean" else 1.0, dtype=torch.float64)
    turned = Rearrange(call.shape(0), (*leading, size), tensor, [*kept, *reduced])
    return compose(turned, Dense(row, leading))


@linear("QuantizeLinear")
def _quantised(call: Call) -> LinearMap | None:
    """But for rounding; asked for only where the meaning in floating point is wanted."""
    weight = call.weight(1)
    return _stepped(call, 1 / weight) if bool(weight.all()) else None


@linear("DequantizeLinear")
def _dequantised(call: Call) -> LinearMap | None:
    return _stepped(call, call.weight(1))


def _stepped(call: Call, weight: Tensor) -> LinearMap | None:
    """Times one number, or one for every position along an axis."""
    rank = len(call.tensor(0))
    if weight.numel() > 1:
        if weight.ndim != 1:
            return None  # block by block
        weight = weight.reshape(-1, *[1] * (rank - 1 - call.attributes.get("axis", 1) % rank))
    return _scaled(call, weight.reshape(()) if weight.numel() == 1 else weight)
