"""The linear maps of ONNX operations: attributes and constant inputs translated to the builders of ``maps``.

Operations that only move values are run by the runtime on the numbers of the values; what constants write drops out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import FileError
from ...maps import Identity, Jacobian, LinearMap, Shape, compose, operations
from ...maps.resizing.onnx_standard import ONNX_FILTERS, onnx_matrix
from ..affine_graph import value_shape
from .call import Call, Terms, linear, rule
from .inputs import FLOATS
from .session import Array, run_node

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations that count as linear layers if their weights are constant."""

KEEPING = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast", "CastLike", "Transpose")
"""Operations that keep all values: what reads their output reads their input."""

PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""The modes of Pad except for a constant, each with torch's name."""


# --- moving values -----------------------------------------------------------------------------------------


@linear("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _same(call: Call) -> LinearMap:
    return Identity(call.shape(0))


@linear("Max", "Min")
def _only(call: Call) -> LinearMap | None:
    """The largest of one value is that value."""
    return _same(call) if len(call.operands) == 1 else None


@rule("Dropout")
def _dropout(call: Call) -> list[Terms] | None:
    """The values, and the mask of those that are kept, which are all."""
    rate, training = call.constant(1), call.constant(2)
    old = call.version < 7 and not call.attributes.get("is_test")
    random = training is not None and training.any() and (rate is None or rate.any())
    if call.varying != [0] or old or random:
        return None
    kept: list[Terms] = [[(0, Identity(call.shape(0)))], []]
    return kept[: len(call.outputs)]


@linear("Cast", "CastLike")
def _cast(call: Call) -> LinearMap | None:
    """Between floating-point types, exact up to their rounding; a cast to whole numbers is not linear."""
    return _same(call) if call.attributes.get("to", FLOATS[0]) in FLOATS else None


@linear("Transpose")
def _transposed(call: Call) -> LinearMap:
    tensor = call.tensor(0)
    return operations.permute(tensor, call.attributes.get("perm", range(len(tensor))[::-1]))


@linear("DepthToSpace")
def _depth_to_space(call: Call) -> LinearMap:
    blocks_first = call.attributes.get("mode", "DCR") == "DCR"
    return operations.pixel_shuffle(call.tensor(0), call.attributes["blocksize"], blocks_first)


@linear("SpaceToDepth")
def _space_to_depth(call: Call) -> LinearMap:
    blocks_first = call.attributes.get("mode", "DCR") == "DCR"
    return operations.pixel_unshuffle(call.tensor(0), call.attributes["blocksize"], blocks_first)


MOVED = {
    **dict.fromkeys(
        ("Slice", "Pad", "Split", "Gather", "GatherElements", "GatherND", "Expand", "Tile", "Trilu", "CenterCropPad",
         "ReverseSequence", "Compress", "MaxUnpool", "MaxPool"), (0,)
    ),
    "TensorScatter": (0, 1), "Where": (1, 2), "Scatter": (0, 2), "ScatterElements": (0, 2), "ScatterND": (0, 2),
}  # fmt: skip
"""Operations each of whose outputs is a value that they read, or a constant, by the operands that hold values."""


@rule(*MOVED)
def _moved(call: Call) -> list[Terms] | None:
    """Each operand by itself, with zeros for the others and for floating-point constants."""
    given = call.attributes
    if not set(call.varying) <= set(MOVED[call.op]) or given.get("reduction", "none") != "none":
        return None  # positions that are not constant, or values that meet
    if call.op == "MaxPool" and (prod(given["kernel_shape"]) > 1 or len(call.outputs) > 1):
        return None
    try:
        return _moves(call, np.float64)
    except FileError:  # a few operations do not exist in double precision
        return _moves(call, np.float32) if all(prod(call.tensor(i)) < 1 << 24 for i in call.varying) else None


def _moves(call: Call, dtype: type[Any]) -> list[Terms]:
    """The operation run on the numbers of the values, which the type must hold exactly."""
    beside = {i: np.zeros(x.shape, dtype) if x.dtype.kind == "f" else x for i, x in call.constants.items()}
    zeros = {i: np.zeros(call.tensor(i), dtype) for i in call.varying}
    unmoved = run_node(call.node, zeros, beside, call.opsets)
    found: list[Terms] = [[] for _ in call.outputs]
    places = [terms for terms, name in zip(found, call.node.output, strict=True) if name]
    for index in call.varying:
        numbers = operations.numbered(call.tensor(index)).numpy().astype(dtype)
        written = run_node(call.node, {**zeros, index: numbers}, beside, call.opsets)
        for terms, tensor, without in zip(places, written, unmoved, strict=True):
            if tensor.size:
                terms.append((index, _move(call.shape(index), tensor - without, [_border(call)])))
    return found


@rule("Concat", "ConcatFromSequence")
def _concatenated(call: Call) -> list[Terms]:
    """The operands side by side along an axis, or along a new one."""
    join = np.stack if call.attributes.get("new_axis") else np.concatenate
    found: Terms = []
    for index in call.varying:
        arrays = [np.zeros(operand.shape) for operand in call.operands if operand is not None]
        arrays[index] = operations.numbered(arrays[index].shape).numpy()
        found.append((index, _move(call.shape(index), join(arrays, call.attributes["axis"]))))
    return [found]


@rule("SplitToSequence")
def _split(call: Call) -> list[Terms] | None:
    """The tensors of a sequence; without sizes, those of size one along the axis, which may be left out."""
    if call.varying != [0]:
        return None
    numbers, axis = operations.numbered(call.tensor(0)).numpy(), call.attributes.get("axis", 0)
    kept = [len(shape) == numbers.ndim for shape in call.outputs]
    sizes = [shape[axis] if whole else 1 for shape, whole in zip(call.outputs, kept, strict=True)]
    parts = np.split(numbers, np.cumsum(sizes)[:-1], axis)
    return [[(0, _move(call.shape(0), part.reshape(shape)))] for part, shape in zip(parts, call.outputs, strict=True)]


def _move(in_shape: Shape, moved: Array, candidates: Sequence[LinearMap | None] = ()) -> LinearMap:
    return operations.move(in_shape, torch.from_numpy(moved).reshape(value_shape(moved.shape)), candidates)


def _border(call: Call) -> LinearMap | None:
    """The padding of a Pad that is not by a constant."""
    mode = PAD_MODES.get(call.attributes.get("mode", "constant"))
    pads = call.attributes.get("pads", call.constant(1))
    if call.op != "Pad" or mode is None or pads is None:
        return None
    tensor, shape = call.tensor(0), call.shape(0)
    amounts = [(0, 0)] * len(tensor)
    axes = call.axes(3) or range(len(tensor))
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        amounts[axis] = (int(before), int(after))
    return operations.axis_padding(shape, amounts[len(tensor) - len(shape) :], mode)


# --- value by value ----------------------------------------------------------------------------------------


@rule("Add", "Sub", "Sum", "Mean")
def _added(call: Call) -> list[Terms]:
    def factor(index: int) -> float:
        return -1.0 if call.op == "Sub" and index == 1 else 1 / len(call.operands) if call.op == "Mean" else 1.0

    terms = [(i, operations.summand(call.shape(i), call.out_shape(), factor(i))) for i in call.varying]
    lost = sum(np.isinf(constant).astype(float) for constant in call.constants.values())
    if not np.any(lost):
        return [terms]
    # What an infinite offset is added to is lost, as in the masks of attention.
    kept = np.broadcast_to(np.equal(lost, 0), call.outputs[0]).reshape(call.out_shape())
    mask = operations.multiply(call.out_shape(), torch.from_numpy(kept.astype(np.float64)))
    return [[(i, compose(operator, mask)) for i, operator in terms]]


@linear("Mul", reads=(0, 1))
def _multiplied(call: Call) -> LinearMap:
    return _scaled(call, call.weight(1 - call.varying[0]))


@linear("Div")
def _divided(call: Call) -> LinearMap | None:
    weight = call.weight(1)
    return _scaled(call, 1 / weight) if bool(weight.all()) else None


@linear("Neg")
def _negated(call: Call) -> LinearMap:
    return operations.multiply(call.shape(0), -1.0)


def _scaled(call: Call, weight: Tensor) -> LinearMap:
    whole = call.outputs[0]
    if weight.ndim == len(whole) > 1 and whole[0] == 1:
        weight = weight[0]  # the batch
    return operations.multiply(call.shape(call.varying[0]), weight)


@linear("BatchNormalization")
def _batch_norm(call: Call) -> LinearMap | None:
    given = call.attributes
    if given.get("training_mode") or not given.get("spatial", 1) or (call.version < 7 and not given.get("is_test")):
        return None
    axis = 1 - len(call.tensor(0))
    return operations.batch_norm(call.shape(0), call.weight(4), given.get("epsilon", 1e-5), call.weight(1), axis)


@linear("DequantizeLinear")
def _dequantised(call: Call) -> LinearMap | None:
    return _stepped(call, call.weight(1))


def _stepped(call: Call, weight: Tensor) -> LinearMap | None:
    """Times one number, or one per position along an axis; None for one per block."""
    rank = len(call.tensor(0))
    if weight.numel() == 1:
        return _scaled(call, weight.reshape(()))
    if weight.ndim != 1:
        return None
    return _scaled(call, weight.reshape(-1, *[1] * (rank - 1 - call.attributes.get("axis", 1) % rank)))


# --- products and sums -------------------------------------------------------------------------------------


@linear("MatMul", reads=(0, 1))
def _matmul(call: Call) -> LinearMap | None:
    (index,) = call.varying
    # A matrix to the left of a tensor reads its second last axis, which a value of one row has lost.
    tensor, shape = call.tensor(index), call.shape(index)
    return operations.matmul(tensor if index and len(tensor) == 2 else shape, call.weight(1 - index), left=index == 1)


@linear("com.microsoft:FusedMatMul", "com.microsoft:TransposeMatMul", reads=(0, 1))
def _fused_matmul(call: Call) -> LinearMap | None:
    """A product with a matrix, each factor transposed or not, times a number."""
    given, (index,) = call.attributes, call.varying
    if given.get("transBatchA") or given.get("transBatchB"):
        return None
    flipped = [bool(given.get(name)) for name in ("transA", "transB")]
    tensor, other = call.tensor(index), call.weight(1 - index)
    order = [*range(len(tensor))]
    if flipped[index]:
        order[-2:] = order[:-3:-1]
    turned = operations.permute(tensor, order)
    matrix = given.get("alpha", 1.0) * (other.mT if flipped[1 - index] else other)
    return compose(turned, operations.matmul(turned.out_shape, matrix, left=index == 1))


@rule("Gemm")
def _gemm(call: Call) -> list[Terms] | None:
    """α A B + β C, where A or B is constant, or both are."""
    given = call.attributes
    if {0, 1} <= set(call.varying):
        return None
    terms: Terms = []
    for index in call.varying:
        shape = call.shape(index)
        if index == 2:
            terms.append((2, operations.summand(shape, call.out_shape(), given.get("beta", 1.0))))
            continue
        turned = bool(given.get("transB" if index else "transA"))
        other = call.weight(1 - index)
        matrix = given.get("alpha", 1.0) * (other.T if given.get("transA" if index else "transB") else other)
        tensor = call.tensor(index) if index or turned else shape  # a row that is not turned is read as a vector
        start = operations.permute(tensor, (1, 0)) if turned else Identity(tensor)
        product = compose(start, operations.matmul(start.out_shape, matrix, left=index == 1))
        terms.append((index, operations.reshaped(product, shape, call.out_shape())))
    return [terms]


@linear("Einsum", reads=range(64))
def _einsum(call: Call) -> LinearMap:
    equation = call.attributes["equation"].replace(" ", "")
    read, _, written = equation.partition("->")
    if (
        len(call.operands) == 1
        and read.isalpha()
        and sorted(set(read)) == sorted(written)
        and len(read) == len(written)
    ):
        return operations.permute(call.tensor(0), [read.index(axis) for axis in written])
    constants = [None if i in call.varying else call.weight(i) for i in range(len(call.operands))]
    return operations.einsum(call.tensor(call.varying[0]), equation, constants)


@linear("ReduceMean", "ReduceSum")
def _reduced(call: Call) -> LinearMap:
    tensor, shape = call.tensor(0), call.shape(0)
    axes = call.axes(1)
    if not axes and call.attributes.get("noop_with_empty_axes"):
        return Identity(shape)
    offset = len(tensor) - len(shape)
    kept = [axis - offset for axis in axes or range(len(tensor)) if axis >= offset]
    return operations.reduce_sum(shape, kept, average=call.op == "ReduceMean")


def _along(tensor: Shape, axes: Sequence[int], matrix: Tensor, out: Shape) -> LinearMap:
    """A matrix on the values of some axes, for all others.

    Args:
        tensor: Shape of what is read.
        axes: The axes that are read together, first axis first.
        matrix: ``(out, in)``, the values of these axes in their order.
        out: Sizes of these axes in what is written.
    """
    axes = [axis % len(tensor) for axis in axes]
    rest = [axis for axis in range(len(tensor)) if axis not in axes]
    turned = operations.permute(tensor, [*rest, *axes])
    lead = tuple(tensor[axis] for axis in rest)
    flat = operations.reshape(turned.out_shape, (*lead, matrix.shape[1]))
    product = operations.linear(flat.out_shape, matrix)
    apart = operations.reshape(product.out_shape, (*lead, *out))
    back = operations.permute(apart.out_shape, np.argsort([*rest, *axes]).tolist())
    return compose(turned, flat, product, apart, back)


@linear("CumSum")
def _cumulative_sum(call: Call) -> LinearMap:
    axis, size = int(call.weight(1)), call.tensor(0)[int(call.weight(1))]
    (sums,) = run_node(call.node, {0: np.eye(size)}, {1: np.array(0)}, call.opsets)
    return _along(call.tensor(0), [axis], torch.from_numpy(sums), (size,))


@linear("DFT")
def _fourier(call: Call) -> LinearMap:
    """One matrix along an axis; the last axis holds real and imaginary parts."""
    tensor = call.tensor(0)
    place = call.constant(2)
    axis = (call.attributes.get("axis", 1) if call.version < 20 else -2 if place is None else int(place)) % len(tensor)
    size, parts = tensor[axis], tensor[-1]
    units = np.eye(size * parts).reshape(size * parts, size, parts)
    constants = {i: np.array(1) if i == 2 else x for i, x in call.constants.items()}
    (written,) = run_node(call.node, {0: units}, constants, call.opsets, axis=1)
    matrix = torch.from_numpy(written.reshape(size * parts, -1).T)
    return _along(tensor, [axis, len(tensor) - 1], matrix, written.shape[1:])


@linear("STFT")
def _short_time_fourier(call: Call) -> LinearMap | None:
    """A strided convolution, whose kernels are the windowed waves."""
    step, window, length = call.constant(1), call.constant(2), call.constant(3)
    tensor = call.tensor(0)
    if step is None or (window is None and length is None):
        return None
    size = int(length) if length is not None else len(window) if window is not None else 0
    parts = tensor[2] if len(tensor) > 2 else 1
    units = np.eye(size * parts).reshape(size * parts, size, parts)
    constants = {i: x.astype(np.float64) if x.dtype.kind == "f" else x for i, x in call.constants.items()}
    (waves,) = run_node(call.node, {0: units}, constants, call.opsets)
    weight = torch.from_numpy(waves.reshape(size, parts, -1).transpose(2, 1, 0))
    turned = operations.permute((*tensor[:2], parts), (0, 2, 1))
    start = compose(operations.reshape(tensor, (*tensor[:2], parts)), turned)
    product = operations.convolution(start.out_shape, weight, int(step))
    frames = operations.permute(product.out_shape, (0, 2, 1))
    return compose(start, product, frames, operations.reshape(frames.out_shape, call.outputs[0]))


# --- convolutions and windows ------------------------------------------------------------------------------


class _Window:
    """Where kernels or pooling windows lie.

    Args:
        call: A convolution or a pool.
        kernel: Size of the window per axis.
    """

    def __init__(self, call: Call, kernel: Shape) -> None:
        given = call.attributes
        ones = (1,) * len(kernel)
        self.stride: Shape = tuple(given.get("strides", ones))
        self.dilation: Shape = tuple(given.get("dilations", ones))
        self.reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True)]
        self._pads = tuple(given.get("pads", (0,) * 2 * len(kernel)))
        self._auto = given.get("auto_pad", "NOTSET")

    def padding(self, small: Shape, large: Shape) -> list[tuple[int, int]]:
        """(before, after) per axis of the larger image, for the number of windows that the smaller image has."""
        axes = len(self.reach)
        if self._auto not in ("SAME_UPPER", "SAME_LOWER"):
            return list(zip(self._pads[:axes], self._pads[axes:], strict=True))
        found = []
        for windows, size, stride, reach in zip(small, large, self.stride, self.reach, strict=True):
            total = max((windows - 1) * stride + reach - size, 0)
            less, more = total // 2, total - total // 2
            found.append((less, more) if self._auto == "SAME_UPPER" else (more, less))
        return found


@linear("Conv")
def _convolution(call: Call) -> LinearMap:
    weight = call.weight(1)
    window = _Window(call, tuple(weight.shape[2:]))
    padding = window.padding(call.outputs[0][2:], call.tensor(0)[2:])
    groups = call.attributes.get("group", 1)
    return operations.convolution(call.shape(0), weight, window.stride, padding, window.dilation, groups)


@linear("ConvTranspose")
def _transposed_convolution(call: Call) -> LinearMap:
    weight, given = call.weight(1), call.attributes
    window = _Window(call, tuple(weight.shape[2:]))
    small, large = call.tensor(0)[2:], call.outputs[0][2:]
    extra = given.get("output_padding", (0,) * len(small))
    padding = window.padding(small, large)
    if "output_shape" in given or given.get("auto_pad") in ("SAME_UPPER", "SAME_LOWER"):
        sizes = zip(small, large, window.stride, window.reach, extra, strict=True)
        totals = [(n - 1) * stride + more + reach - size for n, size, stride, reach, more in sizes]
        halves = [max(total, 0) // 2 for total in totals]
        upper = given.get("auto_pad") == "SAME_UPPER"
        before = [half if upper else max(total, 0) - half for half, total in zip(halves, totals, strict=True)]
        # Whatever else the far end has, more or less, follows from the size of the output.
        after = [total - more - first for total, more, first in zip(totals, extra, before, strict=True)]
        padding = [(first, max(last, 0)) for first, last in zip(before, after, strict=True)]
        extra = [max(-last, 0) for last in after]
    groups = given.get("group", 1)
    return operations.transposed_convolution(
        call.shape(0), weight, window.stride, padding, window.dilation, groups, extra
    )


@linear("AveragePool")
def _average_pool(call: Call) -> LinearMap:
    given = call.attributes
    window = _Window(call, tuple(given["kernel_shape"]))
    padding = window.padding(call.outputs[0][2:], call.tensor(0)[2:])
    return operations.average_pool(
        call.shape(0),
        given["kernel_shape"],
        window.stride,
        padding,
        window.dilation,
        ceil_mode=bool(given.get("ceil_mode", 0)),
        count_include_pad=bool(given.get("count_include_pad", 0)),
    )


@linear("GlobalAveragePool")
def _global_average_pool(call: Call) -> LinearMap:
    return operations.adaptive_average_pool(call.shape(0), (1,) * (len(call.tensor(0)) - 2))


SAMPLING = {"linear": "bilinear", "cubic": "bicubic"}
"""The modes of GridSample by their names since version 20, with torch's names."""


@linear("GridSample")
def _sampled(call: Call) -> LinearMap:
    given, grid = call.attributes, call.weight(1)
    mode = str(given.get("mode", "linear"))
    options = {"padding_mode": given.get("padding_mode", "zeros"), "align_corners": bool(given.get("align_corners", 0))}

    def function(x: Tensor) -> Tensor:
        return torch.nn.functional.grid_sample(x, grid.to(x.dtype), SAMPLING.get(mode, mode), **options)

    return Jacobian(function, call.tensor(0), name="GridSample", affine=True)


# --- resizing ----------------------------------------------------------------------------------------------


@linear("Resize", "Upsample")
def _resized(call: Call) -> LinearMap | None:
    """One matrix per axis, by the formulas of the standard; the runtime itself gives the nearest pixels."""
    mode = call.attributes.get("mode", "nearest")
    tensor, out = call.tensor(0), call.outputs[0]
    if mode == "nearest":
        return _nearest(call)
    if mode not in ONNX_FILTERS or tensor[0] != 1 or out[0] != 1:
        return None
    scales, regions = _scales(call), _regions(call)
    matrices = [
        onnx_matrix(
            tensor[axis],
            out[axis],
            mode,
            scales[axis],
            _coordinate_mode(call),
            regions[axis],
            antialias=bool(call.attributes.get("antialias")),
            cubic_coefficient=call.attributes.get("cubic_coeff_a", -0.75),
            exclude_outside=bool(call.attributes.get("exclude_outside")),
        )
        for axis in range(1, len(tensor))
    ]
    return operations.resample(call.shape(0), matrices)


def _nearest(call: Call) -> LinearMap:
    """The pixels by their numbers; one matrix per axis if each axis is read by itself."""
    tensor = call.tensor(0)
    numbers = np.arange(1, prod(tensor) + 1, dtype=np.int32).reshape(tensor)
    (written,) = run_node(call.node, {0: numbers}, call.constants, call.opsets)
    (outside,) = run_node(call.node, {0: np.zeros_like(numbers)}, call.constants, call.opsets)
    written = written - outside  # what stands outside of the image is constant
    if tensor[0] != 1 or len(written) != 1 or not written.all():
        return _move(call.shape(0), written)
    read = np.unravel_index(written - 1, tensor)
    along = [np.moveaxis(read[axis], axis, 0).reshape(written.shape[axis], -1)[:, 0] for axis in range(1, len(tensor))]
    matrices = [
        torch.eye(size, dtype=torch.float64)[torch.from_numpy(at)] for size, at in zip(tensor[1:], along, strict=True)
    ]
    return operations.resample(call.shape(0), matrices)


def _coordinate_mode(call: Call) -> str:
    if call.op == "Upsample" or call.version < 11:
        return "asymmetric"
    return str(call.attributes.get("coordinate_transformation_mode", "half_pixel"))


def _scales(call: Call) -> list[float]:
    """The factor by which each axis grows, from which the coordinates are computed."""
    tensor, out = call.tensor(0), call.outputs[0]
    found = [there / here for here, there in zip(tensor, out, strict=True)]
    axes = call.attributes.get("axes", range(len(tensor)))
    old = call.op == "Upsample" or call.version < 11
    given = call.constant(1 if old else 2)
    sizes = None if old else call.constant(3)
    if "scales" in call.attributes:
        given = np.array(call.attributes["scales"])
    if given is not None and given.size:
        for axis, scale in zip(axes, given, strict=True):
            found[axis] = float(scale)
    elif sizes is not None and (policy := call.attributes.get("keep_aspect_ratio_policy", "stretch")) != "stretch":
        factors = [float(size) / tensor[axis] for axis, size in zip(axes, sizes, strict=True)]
        for axis in axes:
            found[axis] = min(factors) if policy == "not_larger" else max(factors)
    return found


def _regions(call: Call) -> list[tuple[float, float]]:
    """(start, end) per axis of the part that is cropped, as fractions of the axis."""
    rank = len(call.tensor(0))
    found = [(0.0, 1.0)] * rank
    given = call.constant(1) if _coordinate_mode(call) == "tf_crop_and_resize" else None
    if given is not None and given.size:
        axes = call.attributes.get("axes", range(rank))
        for axis, start, end in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
            found[axis] = (float(start), float(end))
    return found
