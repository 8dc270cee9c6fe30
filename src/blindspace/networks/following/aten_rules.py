"""The maps of torch's operations (ATen) that have a structure, by the builders in ``maps/operations.py``.

A rule gives the map of an operation in one of its arguments, the others fixed; numbers are real here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...maps import Identity, LinearMap, Shape, operations
from ...maps.linear_map import broadcast
from ...maps.modules import Rules
from ..affine_graph import value_shape
from .aten_affine import VIEWS
from .aten_call import Call
from .aten_function import Function

Rule = Callable[[Call, str, Tensor, Shape], LinearMap | None]
"""From a call, the argument that varies, the tensor that it is and the shape of its value to the map; None if the
builder does not serve these options."""

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule


def _double(tensor: Tensor) -> Tensor:
    """A copy in float64: the network may write into a constant later."""
    return tensor.detach().to(torch.float64, copy=True)


# --- moves -------------------------------------------------------------------------------------------------


@rule(*VIEWS)
def _passed_on(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    return Identity(in_shape)


@rule("permute", "transpose", "t")
def _permuted(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    if not tensor.ndim:
        return None
    axes = list(range(tensor.ndim))
    if "dims" in call.given:
        axes = call.given["dims"]
    elif "dim0" not in call.given:
        axes = axes[::-1]
    else:
        a, b = call.given["dim0"], call.given["dim1"]
        axes[a], axes[b] = axes[b], axes[a]
    return operations.permute(tuple(tensor.shape), axes)


@rule(*(f"{mode}_pad{axes}d" for mode in ("reflection", "replication") for axes in (1, 2, 3)))
def _padded(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    amounts = call.given["padding"]
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    return operations.axis_padding(in_shape, pairs, "reflect" if "reflection" in call.name else "replicate")


# --- value by value ----------------------------------------------------------------------------------------


@rule("add", "sub", "rsub")
def _added(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    given = call.given
    alpha = float(given["alpha"])
    own, other = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[call.name]
    return operations.summand(in_shape, _whole(given["self"], given["other"]), own if argument == "self" else other)


@rule("mul", "div")
def _multiplied(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    factor = call.given["other" if argument == "self" else "self"]
    weight = _double(factor) if isinstance(factor, Tensor) else torch.tensor(factor, dtype=torch.float64)
    return _scaled(tensor, in_shape, 1 / weight if call.name == "div" else weight)


@rule("neg")
def _negated(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    return operations.multiply(in_shape, -1.0)


def _scaled(tensor: Tensor, in_shape: Shape, weight: Tensor) -> LinearMap:
    """A tensor times a constant one, with broadcasting."""
    whole = broadcast(tensor.shape, weight.shape)
    if weight.ndim == len(whole) > 1 and whole[0] == 1:
        weight = weight[0]  # the batch
    return operations.multiply(in_shape, weight)


def _whole(*terms: object) -> Shape:
    """Shape of the value that tensors broadcast to."""
    return value_shape(broadcast(*(term.shape for term in terms if isinstance(term, Tensor))))


# --- products and sums -------------------------------------------------------------------------------------

FACTORS = {
    "mm": ("self", "mat2"), "addmm": ("mat1", "mat2"), "bmm": ("self", "mat2"), "baddbmm": ("batch1", "batch2"),
    "mv": ("self", "vec"), "addmv": ("mat", "vec"), "dot": ("self", "tensor"),
}  # fmt: skip
"""Names of the two factors, by the name of the operation."""


@rule(*FACTORS)
def _matrix_product(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    left, right = (call.given[name] for name in FACTORS[call.name])
    if argument not in FACTORS[call.name]:  # what the product is added to
        out = broadcast(tensor.shape, (*left.shape[:-1], *right.shape[left.ndim - 1 :]))
        return operations.summand(in_shape, value_shape(out), float(call.given["beta"]))
    turned = argument == FACTORS[call.name][1]
    other = left if turned else right
    if other.layout != torch.strided:
        return None
    matrix = _double(other) * float(call.given.get("alpha", 1))
    if matrix.ndim == 3 and len(matrix) == 1 == len(tensor):
        matrix = matrix[0]
    # A row is read as such by a factor to its left; as a value it has lost its first axis.
    row = turned and tensor.ndim == 2
    return operations.matmul(tuple(tensor.shape) if row else in_shape, matrix, left=turned)


@rule(
    "_linalg_solve_ex", "linalg_lu_solve", "linalg_solve_triangular", "cholesky_solve", "triangular_solve",
    "_embedding_bag", "_embedding_bag_forward_only",
)  # fmt: skip
def _column_by_column(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    """A product with the matrix that the operation makes of the identity."""
    if tensor.ndim > 2 or argument == "per_sample_weights":
        return None
    matrix = Function(call).run({}, {argument: torch.eye(len(tensor), dtype=torch.float64)})[0]
    return operations.matmul(in_shape, matrix, left=True) if matrix.ndim == 2 else None


@rule("linear")
def _linear(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    return operations.linear(in_shape, _double(call.given["weight"])) if argument == "input" else None


@rule("mean", "sum")
def _reduced(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    if not tensor.ndim:
        return Identity(in_shape)
    axes = call.axes(tensor, call.given.get("dim") or range(tensor.ndim))
    return operations.reduce_sum(in_shape, axes, average=call.name == "mean")


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def _batch_norm(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    given = call.given
    if argument != "input":
        return None
    eps = float(given["epsilon" if call.name == "cudnn_batch_norm" else "eps"])
    return operations.batch_norm(in_shape, given["running_var"], eps, given["weight"], 1 - tensor.ndim)


# --- convolutions and windows ------------------------------------------------------------------------------


@rule("convolution", "_convolution")  # the latter in traced code
def _convolution(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    given = call.given
    if argument != "input":
        return None
    options = {name: given[name] for name in ("stride", "padding", "dilation", "groups")}
    weight = _double(given["weight"])
    if given["transposed"]:
        return operations.transposed_convolution(in_shape, weight, **options, output_padding=given["output_padding"])
    return operations.convolution(in_shape, weight, **options)


@rule("avg_pool2d", "avg_pool3d")
def _average_pool(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    given, axes = call.given, int(call.name[-2])
    return operations.average_pool(
        in_shape,
        given["kernel_size"] * (axes if len(given["kernel_size"]) == 1 else 1),
        given["stride"] or None,
        given["padding"],
        ceil_mode=given["ceil_mode"],
        count_include_pad=given["count_include_pad"],
        divisor=given.get("divisor_override"),
    )


@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def _adaptive_average_pool(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    return operations.adaptive_average_pool(in_shape, call.given["output_size"])


@rule(
    *(f"{name}{axes}d" for name in ("upsample_nearest", "_upsample_nearest_exact") for axes in (1, 2, 3)),
    "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip
def _upsampled(call: Call, argument: str, tensor: Tensor, in_shape: Shape) -> LinearMap:
    mode = call.name.split("upsample_")[1].removesuffix("_aa")[:-2].replace("_", "-")  # without the number of axes
    factors = [call.given.get(name) for name in ("scales", "scales_d", "scales_h", "scales_w")]
    return operations.resize(
        in_shape,
        call.given["output_size"],
        mode,
        scale=[factor for factor in factors if factor is not None] or None,
        align_corners=bool(call.given.get("align_corners")),
        antialias=call.name.endswith("_aa"),
    )
