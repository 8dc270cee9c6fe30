"""From a torch module to its linear map: what it does to a perturbation at a given input shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import floor
from typing import Any

import torch
from torch import nn

from ..errors import BlindspaceError, ShapeError, UnsupportedLayerError, ValueRangeError
from .convolution import Convolution
from .dense import Dense
from .diagonal import Diagonal
from .linear_map import LinearMap, Shape
from .moves import Identity, Rearrange
from .padding import Padding
from .pooling import AdaptiveAveragePooling, AveragePooling
from .resize import Resize
from .simplify import compose

Rule = Callable[[Any, Shape], LinearMap]
RULES: dict[type[nn.Module], Rule] = {}
"""How each kind of module becomes a map; ``register`` adds to it."""


def register(*kinds: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Decorator: the function makes the map of these kinds of module."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return add


def is_affine(module: nn.Module) -> bool:
    """Whether ``from_module`` knows the module's kind (a Sequential: all of its parts)."""
    if _is_sequence(module):
        return all(is_affine(part) for part in module.children())
    return _rule(module) is not None


def from_module(module: nn.Module, in_shape: Sequence[int]) -> LinearMap:
    """The linear part of an affine module; biases drop out.

    Args:
        module: a kind listed in ``RULES``, or a Sequential of such.
        in_shape: of one input, without the batch.

    Returns:
        The map, its parameters copied to float64.

    Raises:
        UnsupportedLayerError: the module is not affine, or of a kind not known.
        ShapeError: the module cannot read that shape.
        ValueRangeError: a parameter is not finite.
    """
    kind = type(module).__name__
    if isinstance(in_shape, int) or not all(isinstance(n, int) and n > 0 for n in in_shape):
        raise ShapeError(f"the input of {kind} needs a shape of whole numbers such as (3, 32, 32), got {in_shape}")
    shape = tuple(in_shape)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(value) or value.is_meta or value.is_complex():
            what = "complex" if value.is_complex() else "not there yet"
            raise UnsupportedLayerError(f"{kind}.{name} is {what}; its values must be real and loaded")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueRangeError(f"{kind}.{name} holds NaN or infinite values")
    if _is_sequence(module):
        parts: list[LinearMap] = []
        for part in module.children():
            parts.append(from_module(part, shape))
            shape = parts[-1].out_shape
        return compose(*parts) if parts else Identity(shape)
    rule = _rule(module)
    if rule is None:
        known = ", ".join(sorted(kind.__name__ for kind in RULES))
        raise UnsupportedLayerError(f"{kind} is not known to be affine; known are {known}")
    try:
        operator = rule(module, shape)
        written = _torch_out_shape(module, shape)
    except BlindspaceError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ShapeError(f"{kind} cannot read an input of shape {shape}: {error}") from error
    if operator.out_shape != written:
        raise UnsupportedLayerError(
            f"{module} writes {written}, its map {operator.out_shape}: an option not served here"
        )
    return operator


def _torch_out_shape(module: nn.Module, shape: Shape, small: int = 2**20) -> Shape:
    """The shape torch itself says the module writes, so that torch checks every option.

    A module in float32 or float64 with at most ``small`` input values is run on zeros, a larger one on meta tensors,
    which have no values: their first use imports all of ``torch._dynamo``, which takes longer than a small audit.
    """
    held = dict([*module.named_parameters(), *module.named_buffers()])
    first = next((value for value in held.values() if value.is_floating_point()), torch.empty(0))
    dtype = first.dtype
    with torch.no_grad():
        if math.prod(shape) <= small and dtype in (torch.float32, torch.float64):
            out = module(torch.zeros(1, *shape, dtype=dtype, device=first.device))
        else:
            values = {name: torch.empty_like(value, device="meta") for name, value in held.items()}
            start = torch.empty(1, *shape, dtype=dtype, device="meta")
            out = torch.func.functional_call(module, values, (start,))
    return tuple(int(n) for n in out.shape[1:])


def _is_sequence(module: nn.Module) -> bool:
    """Whether a module does nothing but call its parts in order."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not hooked


def _rule(module: nn.Module) -> Rule | None:
    """How a module of that kind becomes a map; None where its own forward or a hook may do something else."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    kinds = (kind for kind in type(module).__mro__ if kind in RULES)
    return next((RULES[kind] for kind in kinds if type(module).forward is kind.forward), None)


def _tuple(value: Any, axes: int) -> tuple[int, ...]:
    return (int(value),) * axes if isinstance(value, int) else tuple(int(v) for v in value)


@register(nn.Linear)
def _linear(module: nn.Linear, shape: Shape) -> LinearMap:
    if shape[-1] != module.in_features:
        raise ShapeError(f"Linear reads {module.in_features} features on the last axis, the input is {shape}")
    return Dense(module.weight, shape[:-1])


@register(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv(module: nn.Conv2d, shape: Shape) -> LinearMap:
    axes = len(module.kernel_size)
    if module.padding == "valid":
        padding = [(0, 0)] * axes
    elif module.padding == "same":
        around = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = [(total // 2, total - total // 2) for total in around]
    else:
        padding = [(p, p) for p in _tuple(module.padding, axes)]
    return Convolution(
        module.weight, shape, module.stride, padding, module.dilation, module.groups, module.padding_mode
    )


@register(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transpose(module: nn.ConvTranspose2d, shape: Shape) -> LinearMap:
    """The adjoint of the convolution that reads what this one writes."""
    axes = len(module.kernel_size)
    padding = _tuple(module.padding, axes)
    out = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(
            shape[1:], module.stride, padding, module.dilation, module.kernel_size, module.output_padding, strict=True
        )
    )
    reader = Convolution(
        module.weight,
        (module.out_channels, *out),
        module.stride,
        [(p, p) for p in padding],
        module.dilation,
        module.groups,
    )
    if reader.out_shape[0] != shape[0]:
        raise ShapeError(f"{type(module).__name__} reads {reader.out_shape[0]} channels, the input is {shape}")
    # Where output_padding exceeds the stride, the reader has positions that the input does not fill.
    beyond = [(0, there - here) for there, here in zip(reader.out_shape[1:], shape[1:], strict=True)]
    return reader.T if reader.out_shape == shape else compose(Padding(shape, beyond), reader.T)


@register(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _pool(module: nn.AvgPool2d, shape: Shape) -> LinearMap:
    axes = len(shape) - 1
    return AveragePooling(
        shape,
        _tuple(module.kernel_size, axes),
        _tuple(module.stride, axes),
        _tuple(module.padding, axes),
        module.ceil_mode,
        module.count_include_pad,
        getattr(module, "divisor_override", None),
    )


@register(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
def _adaptive_pool(module: nn.AdaptiveAvgPool2d, shape: Shape) -> LinearMap:
    axes = len(shape) - 1
    size: Any = module.output_size
    return AdaptiveAveragePooling(shape, (size,) * axes if isinstance(size, int) else tuple(size))


@register(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def _upsample(module: nn.Upsample, shape: Shape) -> LinearMap:
    axes = len(shape) - 1
    if module.size is not None:
        return Resize(shape, _tuple(module.size, axes), module.mode, align_corners=bool(module.align_corners))
    factors: Any = module.scale_factor
    scale = factors if isinstance(factors, tuple) else (factors,) * axes
    size = [floor(n * factor) for n, factor in zip(shape[1:], scale, strict=True)]
    # Positions come from the factors as they were given, unless torch is to work them out again from the sizes.
    kept = None if module.recompute_scale_factor else scale
    return Resize(shape, size, module.mode, align_corners=bool(module.align_corners), scale=kept)


@register(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def _batch_norm(module: nn.BatchNorm2d, shape: Shape) -> LinearMap:
    if module.training or module.running_var is None:
        raise UnsupportedLayerError(f"{type(module).__name__} is affine in eval only; call eval() on the network first")
    if shape[0] != module.num_features:
        raise ShapeError(f"{type(module).__name__} reads {module.num_features} channels, the input is {shape}")
    scale = (module.running_var.double() + module.eps).rsqrt()
    if module.affine:
        scale = scale * module.weight.double()
    return Diagonal(scale.reshape(-1, *[1] * (len(shape) - 1)), shape)


@register(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
def _identity(module: nn.Module, shape: Shape) -> LinearMap:
    if module.training and not isinstance(module, nn.Identity):
        raise UnsupportedLayerError(f"{type(module).__name__} is affine in eval only; call eval() on the network first")
    return Identity(shape)


@register(nn.Flatten)
def _flatten(module: nn.Flatten, shape: Shape) -> LinearMap:
    return _reshaped(module, shape)


@register(nn.Unflatten)
def _unflatten(module: nn.Unflatten, shape: Shape) -> LinearMap:
    return _reshaped(module, shape)


def _reshaped(module: nn.Module, shape: Shape) -> LinearMap:
    """Modules that only reshape: torch itself says to what."""
    return Rearrange(shape, tuple(module(torch.empty(1, *shape, device="meta")).shape[1:]))


@register(nn.PixelShuffle)
def _pixel_shuffle(module: nn.PixelShuffle, shape: Shape) -> LinearMap:
    r = module.upscale_factor
    c, h, w = shape
    return Rearrange(shape, (c // r**2, h * r, w * r), (c // r**2, r, r, h, w), (0, 3, 1, 4, 2))


@register(nn.PixelUnshuffle)
def _pixel_unshuffle(module: nn.PixelUnshuffle, shape: Shape) -> LinearMap:
    r = module.downscale_factor
    c, h, w = shape
    return Rearrange(shape, (c * r**2, h // r, w // r), (c, h // r, r, w // r, r), (0, 2, 4, 1, 3))


def _padding(mode: str) -> Rule:
    def rule(module: nn.Module, shape: Shape) -> LinearMap:
        amounts: Any = module.padding  # torch: last axis first, (before, after) each
        pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
        return Padding(shape, pairs, mode)

    return rule


# A constant border is a bias: its linear part pads with zeros.
register(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d)(
    _padding("zeros")
)
register(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d)(_padding("reflect"))
register(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d)(_padding("replicate"))
register(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)(_padding("circular"))
