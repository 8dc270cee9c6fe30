"""The maps of torch's operations that are linear in one tensor, one small rule each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ...maps import Dense, Diagonal, LinearMap, Rearrange, Resize, compose, from_module
from ..affine_graph import Value
from .aten_call import Call, batched, expanded, value_shape

Rule = Callable[[Call], LinearMap | None]

RULES: dict[str, Rule] = {}
"""By the operation's name; None from one where it does not serve the options."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: the function makes the map of operations of these names."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


@rule("mul", "div")
def _multiplied(call: Call) -> LinearMap | None:
    given = call.given
    if given.get("rounding_mode") is not None:
        return None
    own = "self" if call.only("self") else "other"
    value = call.value(own)
    if value is None or (own == "other" and call.name == "div"):
        return None
    factor = given["other" if own == "self" else "self"]
    weight = factor.detach().double() if isinstance(factor, Tensor) else torch.tensor(factor, dtype=torch.float64)
    if call.name == "div":
        weight = 1 / weight
    tensor = given[own]
    whole = torch.broadcast_shapes(tensor.shape, weight.shape)
    operator = expanded(value, tensor, whole)
    return compose(operator, Diagonal(_compact(weight, whole), operator.out_shape))


def _compact(weight: Tensor, whole: Sequence[int]) -> Tensor:
    """A weight that broadcasts to a whole shape, without the whole's first axis of one."""
    weight = weight.reshape(*(1,) * (len(whole) - weight.ndim), *weight.shape)
    return weight[0] if len(whole) > 1 and whole[0] == 1 else weight


@rule("neg")
def _negated(call: Call) -> LinearMap | None:
    value = call.value("self")
    return None if value is None else Diagonal(torch.tensor(-1.0), value.shape)


@rule("permute", "transpose", "t")
def _permuted(call: Call) -> LinearMap | None:
    value = call.value("self")
    tensor = call.given["self"]
    axes = list(range(tensor.ndim))
    if call.name == "permute":
        axes = [axis % tensor.ndim for axis in call.given["dims"]]
    elif call.name == "t":
        axes = axes[::-1]
    else:
        a, b = call.given["dim0"] % tensor.ndim, call.given["dim1"] % tensor.ndim
        axes[a], axes[b] = axes[b], axes[a]
    out = torch.empty(tensor.shape, device="meta").permute(axes)
    return None if value is None else Rearrange(value.shape, value_shape(out), tuple(tensor.shape), axes)


@rule("convolution")
def _convolution(call: Call) -> LinearMap | None:
    given, value = call.given, call.value("input")
    weight = given["weight"]
    if value is None or not batched(given["input"]) or len(value.shape) != weight.ndim - 1:
        return None
    plain: list[Any] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
    back: list[Any] = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
    axes, groups = weight.ndim - 2, given["groups"]
    options = {
        name: tuple(given[name]) * (axes if len(given[name]) == 1 else 1) for name in ("stride", "padding", "dilation")
    }
    channels = (weight.shape[1] * groups, weight.shape[0])
    if given["transposed"]:
        options["output_padding"] = tuple(given["output_padding"])
        channels = (weight.shape[0], weight.shape[1] * groups)
    kinds = back if given["transposed"] else plain
    module = kinds[axes - 1](*channels, tuple(weight.shape[2:]), groups=groups, bias=False, device="meta", **options)
    return from_module(_with(module, weight), value.shape)


def _with(module: Any, weight: Tensor) -> nn.Module:
    module.weight = nn.Parameter(weight.detach(), requires_grad=False)
    built: nn.Module = module
    return built


@rule("mm", "addmm", "linear")
def _matrix(call: Call) -> LinearMap | None:
    given = call.given
    left, right = ("mat1", "mat2") if call.name == "addmm" else ("self", "mat2")
    if call.name == "linear":
        value, matrix = call.value("input"), given["weight"].detach().double()
    elif (value := call.value(left)) is not None:
        matrix = given[right].detach().double().T * float(given.get("alpha") or 1)
    elif (value := call.value(right)) is not None:
        return _from_left(value, given[right], given[left].detach().double() * float(given.get("alpha") or 1))
    else:
        return None
    return None if value is None else Dense(matrix, value.shape[:-1])


@rule("bmm", "matmul")
def _batched(call: Call) -> LinearMap | None:
    given = call.given
    other = "mat2" if "mat2" in given else "other"
    if given["self"].ndim != 3 or given["self"].shape[0] != 1 or given[other].shape[0] != 1:
        return None
    if (value := call.value("self")) is not None:
        return Dense(given[other][0].detach().double().T, value.shape[:-1])
    value = call.value(other)
    return None if value is None else _from_left(value, given[other][0], given["self"][0].detach().double())


def _from_left(value: Value, tensor: Tensor, matrix: Tensor) -> LinearMap:
    """``M X`` of a matrix X."""
    rows, columns = tensor.shape
    turned = Rearrange(value.shape, (columns, rows), (rows, columns), (1, 0))
    applied = Dense(matrix, (columns,))
    out = torch.empty(len(matrix), columns, device="meta")
    shape = value_shape(out[None]) if len(value.shape) == 2 else value_shape(out)
    return compose(turned, applied, Rearrange(applied.out_shape, shape, applied.out_shape, (1, 0)))


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def _batch_norm(call: Call) -> LinearMap | None:
    given, value = call.given, call.value("input")
    if given.get("training") or given.get("running_var") is None or value is None:
        return None
    scale = 1 / (given["running_var"].detach().double() + float(given["eps"])).sqrt()
    if given.get("weight") is not None:
        scale = scale * given["weight"].detach().double()
    whole = tuple(given["input"].shape)
    return Diagonal(_compact(scale.reshape(1, -1, *(1,) * (len(whole) - 2)), whole), value.shape)


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def _pool(call: Call) -> LinearMap | None:
    given, value = call.given, call.value("self")
    if value is None or not batched(given["self"]):
        return None
    if call.name.startswith("_adaptive"):
        kind: Any = nn.AdaptiveAvgPool2d if call.name.endswith("2d") else nn.AdaptiveAvgPool3d
        return from_module(kind(tuple(given["output_size"])), value.shape)
    axes = int(call.name[-2])
    kind = [nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d][axes - 1]
    sizes = [tuple(given[name]) * (axes if len(given[name]) == 1 else 1) for name in ("kernel_size", "padding")]
    stride = tuple(given["stride"]) * (axes if len(given["stride"]) == 1 else 1) or sizes[0]
    more = {} if axes == 1 else {"divisor_override": given["divisor_override"]}
    return from_module(
        kind(sizes[0], stride, sizes[1], given["ceil_mode"], given["count_include_pad"], **more), value.shape
    )


@rule("mean", "sum")
def _reduced(call: Call) -> LinearMap | None:
    """The axes that are reduced come last, as one row of a matrix."""
    value = call.value("self")
    tensor = call.given["self"]
    dims = call.given.get("dim")
    reduced = sorted({axis % tensor.ndim for axis in (dims if dims else range(tensor.ndim))})
    kept = [axis for axis in range(tensor.ndim) if axis not in reduced]
    if value is None:
        return None
    count = prod(int(tensor.shape[axis]) for axis in reduced)
    leading = tuple(int(tensor.shape[axis]) for axis in kept)
    row = torch.full((1, count), 1 / count if call.name == "mean" else 1.0, dtype=torch.float64)
    turned = Rearrange(value.shape, (*leading, count), tuple(tensor.shape), [*kept, *reduced])
    out = tensor.detach().sum(reduced, keepdim=bool(call.given.get("keepdim")))
    return compose(turned, Dense(row, leading), Rearrange((*leading, 1), value_shape(out)))


UPSAMPLING = {
    "upsample_nearest1d": "nearest",
    "upsample_nearest2d": "nearest",
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "bilinear",
    "upsample_bicubic2d": "bicubic",
    "_upsample_nearest_exact2d": "nearest-exact",
    "_upsample_bilinear2d_aa": "bilinear",
    "_upsample_bicubic2d_aa": "bicubic",
}
"""torch's modes, by the names of operations."""


@rule(*UPSAMPLING)
def _upsampled(call: Call) -> LinearMap | None:
    given, value = call.given, call.value("self")
    if value is None or not batched(given["self"]):
        return None
    factors = [given[name] for name in ("scales", "scales_h", "scales_w") if given.get(name) is not None]
    return Resize(
        value.shape,
        tuple(given["output_size"]),
        UPSAMPLING[call.name],
        antialias=call.name.endswith("_aa"),
        align_corners=bool(given.get("align_corners")),
        scale=factors or None,
    )
