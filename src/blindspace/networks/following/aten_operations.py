"""The linear maps of torch's operations (ATen) that are affine in the values they read.

An operation with a builder in ``maps/operations.py`` gets that map; one that only moves values is run on their numbers;
for other operations that may be linear the map is the derivative. Each map is checked against the operation itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import BlindspaceError
from ...maps import Identity, Jacobian, LinearMap, Shape, operations
from ...maps.modules import Rules
from ..affine_graph import Value, value_shape
from .aten_call import Call, shape_of

Reads = list[tuple[Value, LinearMap]]
"""The values whose sum an output is, a constant aside, each with the map that it goes through."""

VIEWS = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "clone", "detach", "alias",
    "contiguous", "lift_fresh", "flatten", "unflatten",
)  # fmt: skip
"""Operations that keep all values in their order."""

PASSED_ON = (*VIEWS, "permute", "transpose", "t", "_to_copy", "_conj", "movedim")
"""Operations that keep all values."""

MOVES = (
    "slice", "select", "narrow", "expand", "flip", "roll", "unfold", "unbind", "split", "split_with_sizes", "chunk",
    "index_select", "index", "gather", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d",
    "constant_pad_nd", "im2col", "cat", "stack", "repeat", "repeat_interleave", "tile", "diagonal", "movedim",
    "masked_fill", "take", "rot90", "tril", "triu",
)  # fmt: skip
"""Operations whose every output is one of the values they read, or a constant."""

LINEAR = (
    "bmm", "baddbmm", "mm", "addmm", "mv", "addmv", "dot", "convolution", "cumsum", "sum", "mean", "col2im",
    "upsample_trilinear3d", "avg_pool3d", "trace", "diff", "where", "lerp", "addcmul", "index_add", "scatter_add",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "mul", "div", "add", "sub", "rsub",
)  # fmt: skip
"""Operations that may be affine in one of the tensors they read, the others being constant; the check decides."""

CHECKED = 1e-9
"""Largest difference between a map and its operation, relative to the largest values."""


def linear_part(call: Call) -> list[Reads | None] | None:
    """For every output of an operation, the values it reads and through which maps; None if not known to be affine.

    Args:
        call: The operation, before it runs.
    """
    if not all(call.value_of(tensor).affine and tensor.is_floating_point() for tensor in call.dependent):
        return None
    if call.functional is None or call.func._schema.name.split("::")[0] != "aten":
        return None
    try:
        found = _outputs(call)
        return None if found is None else _checked(call, found)
    except (BlindspaceError, ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # an option that the rule does not support


def _outputs(call: Call) -> list[Reads | None] | None:
    name = call.name
    if name == "copy":  # copy_(self, src) overwrites self
        source = call.given["src"]
        return [_sum(call, [(source, 1.0)], shape_of(call.given["self"]))] if id(source) in call.values else None
    if name in ("add", "sub", "rsub"):
        return [_added(call)]
    if name in MOVES:
        return _moved(call)
    if len(call.dependent) != 1:
        return None
    (tensor,) = call.dependent
    value = call.value_of(tensor)
    rule = RULES.get(name)
    operator = rule(call, tensor, value.shape) if rule is not None else None
    if operator is None and name in LINEAR:
        operator = _derivative(call, tensor, value.shape)
    return None if operator is None else [[(value, operator)]]


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


# --- the check ---------------------------------------------------------------------------------------------


def _checked(call: Call, found: list[Reads | None]) -> list[Reads | None] | None:
    """The maps in the shapes of the outputs, if the operation does what they do between random points; else None."""
    if call.name == "_to_copy":
        return found  # the precision it rounds to is the one that is asked for
    generator = torch.Generator().manual_seed(1)
    here, there = (
        {id(t): torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in call.dependent}
        for _ in range(2)
    )
    before, after = (call.run(point, _double) for point in (here, there))
    found = [
        reads and [(value, operations.reshaped(operator, value.shape, shape_of(output))) for value, operator in reads]
        for reads, output in zip(found, before, strict=False)
    ]
    if any(isinstance(part, Jacobian) for reads in found for _, operator in reads or [] for part in operator.factors):
        # While a dispatch mode is active no derivative can be taken; that the function is affine can be checked.
        between = call.run({key: (here[key] + there[key]) / 2 for key in here}, _double)
        affine = all(_near(2 * c - a - b, a, b) for a, b, c in zip(before, after, between, strict=True))
        return found if affine else None
    tensor_of = {call.values[key]: key for key in here}
    for reads, a, b in zip(found, before, after, strict=False):
        change = (b - a).flatten()
        for value, operator in reads or []:
            key = tensor_of[value]
            change = change - operator.forward((there[key] - here[key]).reshape(1, *operator.in_shape)).flatten()
        if reads is not None and not _near(change, a, b):
            return None
    return found


def _near(error: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether an error is only the rounding of numbers as large as those in two tensors."""
    return not error.numel() or float(error.abs().max()) <= CHECKED * float(a.abs().max() + b.abs().max())


# --- sums, moves and derivatives ---------------------------------------------------------------------------


def _sum(call: Call, terms: list[tuple[Any, float]], whole: Shape) -> Reads:
    """The tensors among the terms that depend on the input, each times its factor and broadcast to the whole shape."""
    return [
        (call.value_of(tensor), operations.summand(call.value_of(tensor).shape, whole, factor))
        for tensor, factor in terms
        if isinstance(tensor, Tensor) and id(tensor) in call.values
    ]


def _added(call: Call) -> Reads:
    given = call.given
    alpha = float(given.get("alpha") or 1)
    factors = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[call.name]
    terms = [given["self"], given["other"]]
    whole = torch.broadcast_shapes(*(term.shape for term in terms if isinstance(term, Tensor)))
    return _sum(call, list(zip(terms, factors, strict=True)), value_shape(tuple(whole)))


def _moved(call: Call) -> list[Reads | None]:
    """The operation run on the numbers of the values, each tensor by itself."""

    def without_constants(tensor: Tensor) -> Tensor:  # constants beside the values are 0; positions and masks stay
        return torch.zeros(tensor.shape, dtype=torch.float64) if tensor.is_floating_point() else tensor

    zeros = {id(tensor): torch.zeros(tensor.shape, dtype=torch.float64) for tensor in call.dependent}
    base = call.run(zeros, without_constants)  # what constants such as a padding value write
    found: list[Reads] = [[] for _ in base]
    for tensor in call.dependent:
        value = call.value_of(tensor)
        written = call.run({**zeros, id(tensor): operations.numbered(tuple(tensor.shape))}, without_constants)
        for reads, moved, unmoved in zip(found, written, base, strict=True):
            placed = (moved - unmoved).reshape(shape_of(moved))
            reads.append((value, operations.move(value.shape, placed, [_border(call, value.shape)])))
    return [*found]


def _border(call: Call, in_shape: Shape) -> LinearMap | None:
    """The map of a padding by reflection or replication; None for other operations."""
    mode = {"reflection_pad": "reflect", "replication_pad": "replicate"}.get(call.name[:-2])
    if mode is None:
        return None
    amounts = call.given["padding"]
    return operations.axis_padding(in_shape, list(zip(amounts[::2], amounts[1::2], strict=True))[::-1], mode)


def _derivative(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    """The derivative of the operation in one tensor. The check then decides whether the operation is affine in it."""

    def function(x: Tensor) -> Tensor:
        replaced = {id(tensor): x.reshape(tensor.shape)}
        out = call.run(replaced, lambda t: t.detach().to(x.dtype) if t.is_floating_point() else t)[0]
        return out.reshape(shape_of(out))

    return Jacobian(function, in_shape, torch.rand(in_shape, dtype=torch.float64), call.name)


# --- operations with a builder of their own ----------------------------------------------------------------

Rule = Callable[[Call, Tensor, Shape], LinearMap | None]
"""From a call, the one tensor that depends on the input, and the shape of its value to the map; None if unsupported."""

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule


@rule(*VIEWS, "_to_copy", "_conj")
def _passed_on(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    target = call.given.get("dtype")
    return Identity(in_shape) if target is None or target.is_floating_point else None


@rule("mul", "div")
def _multiplied(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    own = "self" if call.given["self"] is tensor else "other"
    if call.given.get("rounding_mode") is not None or (call.name == "div" and own == "other"):
        return None
    factor = call.given["other" if own == "self" else "self"]
    weight = _double(factor) if isinstance(factor, Tensor) else torch.tensor(factor, dtype=torch.float64)
    whole = torch.broadcast_shapes(tensor.shape, weight.shape)
    if weight.ndim == len(whole) > 1 and whole[0] == 1:
        weight = weight[0]  # the batch
    return operations.multiply(in_shape, 1 / weight if call.name == "div" else weight)


@rule("neg")
def _negated(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    return operations.multiply(in_shape, -1.0)


@rule("permute", "transpose", "t")
def _permuted(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    axes = list(range(tensor.ndim))
    if call.name == "permute":
        axes = call.given["dims"]
    elif call.name == "t":
        axes = axes[::-1]
    else:
        a, b = call.given["dim0"], call.given["dim1"]
        axes[a], axes[b] = axes[b], axes[a]
    return operations.permute(tuple(tensor.shape), axes)


FACTORS = {
    "mm": ("self", "mat2"), "addmm": ("mat1", "mat2"), "bmm": ("self", "mat2"), "baddbmm": ("batch1", "batch2"),
    "matmul": ("self", "other"), "mv": ("self", "vec"), "addmv": ("mat", "vec"), "dot": ("self", "tensor"),
}  # fmt: skip
"""Names of the two factors, by the name of the operation."""


@rule(*FACTORS)
def _matrix_product(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    left, right = (call.given[name] for name in FACTORS[call.name])
    if tensor is not left and tensor is not right:  # what the product is added to
        out = tuple(torch.broadcast_shapes(tensor.shape, torch.matmul(left, right).shape))
        return operations.summand(in_shape, value_shape(out), float(call.given["beta"]))
    matrix = _double(right if tensor is left else left) * float(call.given.get("alpha", 1))
    if matrix.ndim == 3 and len(matrix) == 1 == len(tensor):
        matrix = matrix[0]
    # A row is read as such by a factor to its left; as a value it has lost its first axis.
    row = tensor is right and tensor.ndim == 2
    return operations.matmul(tuple(tensor.shape) if row else in_shape, matrix, left=tensor is right)


@rule("linear")
def _linear(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    return operations.linear(in_shape, _double(call.given["weight"])) if call.only("input") else None


@rule("convolution")
def _convolution(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    given = call.given
    if not call.only("input"):
        return None
    options = {name: given[name] for name in ("stride", "padding", "dilation", "groups")}
    if given["transposed"]:
        return operations.transposed_convolution(
            in_shape, given["weight"], **options, output_padding=given["output_padding"]
        )
    return operations.convolution(in_shape, given["weight"], **options)


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def _batch_norm(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap | None:
    given = call.given
    if given.get("training") or given.get("running_var") is None or not call.only("input"):
        return None
    return operations.batch_norm(in_shape, given["running_var"], float(given["eps"]), given["weight"], 1 - tensor.ndim)


@rule("mean", "sum")
def _reduced(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    axes = call.axes(tensor, call.given.get("dim") or range(tensor.ndim))
    return operations.reduce_sum(in_shape, axes, average=call.name == "mean")


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _average_pool(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
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
def _adaptive_average_pool(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
    return operations.adaptive_average_pool(in_shape, call.given["output_size"])


@rule(
    *(f"{name}{axes}d" for name in ("upsample_nearest", "_upsample_nearest_exact") for axes in (1, 2, 3)),
    "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip
def _upsampled(call: Call, tensor: Tensor, in_shape: Shape) -> LinearMap:
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
