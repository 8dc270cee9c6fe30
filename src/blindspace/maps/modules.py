"""From a torch module to its linear map: what the module does to a perturbation at a given input shape."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from ..errors import BlindspaceError, ShapeError, UnsupportedLayerError, ValueRangeError, shown
from . import operations
from .linear_map import LinearMap, Shape, all_finite, as_shape
from .moves import Identity
from .reparametrised import plain_layer
from .simplify import compose

K = TypeVar("K")
R = TypeVar("R")


class Rules(dict[K, R]):
    """Functions by the classes or names of what they serve."""

    def rule(self, *keys: K) -> Callable[[R], R]:
        """Decorator that adds a function under these keys."""

        def add(function: R) -> R:
            self.update(dict.fromkeys(keys, function))
            return function

        return add


Rule = Callable[[Any, Shape], LinearMap]
RULES: Rules[type[nn.Module], Rule] = Rules()
"""The function that makes the map of a module from the module and its input shape, by the class of the module."""

UNUSED = ("__init__", "reset_parameters", "extra_repr", "__repr__", "train", "eval")
"""Methods of modules that have no part in what a module computes."""

register = RULES.rule
"""Decorator that adds a function of a module and its input shape to ``RULES`` for some classes of modules."""


def is_affine(module: nn.Module) -> bool:
    """Whether ``from_module`` knows the class of the module; for a Sequential, the classes of all its parts."""
    if _is_sequence(module):
        return all(is_affine(part) for part in module.children())
    return _rule(module) is not None


def from_module(module: nn.Module, in_shape: Sequence[int]) -> LinearMap:
    """The linear part of an affine module; biases are dropped.

    Args:
        module: A module of a class in ``RULES``, or a Sequential of such modules. Its weights may be computed by
            torch's weight norm, spectral norm, pruning or parametrisations.
        in_shape: Shape of one input, without the batch axis.

    Returns:
        The map, its parameters copied to float64.

    Raises:
        UnsupportedLayerError: The module is not affine, or its class is not known.
        ShapeError: The module cannot read that shape.
        ValueRangeError: A parameter is not finite.

    Examples:
        >>> import torch, blindspace as bs
        >>> bs.from_module(torch.nn.AvgPool2d(2), (3, 8, 8)).out_shape
        (3, 4, 4)
    """
    if not isinstance(module, nn.Module):
        raise UnsupportedLayerError(f"from_module takes a torch module and the shape of its input, got {shown(module)}")
    kind = type(module).__name__
    shape = as_shape(in_shape)
    module = plain_layer(module)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(value) or value.is_meta or value.is_complex():
            what = "complex" if value.is_complex() else "not loaded yet"
            raise UnsupportedLayerError(f"{kind}.{name} is {what}; its values must be real and loaded")
        if value.is_floating_point() and not all_finite(value):
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
        raise UnsupportedLayerError(
            f"{kind} is not known to be affine; harmless(module, input_shape=…) follows any code; known are {known}"
        )
    try:
        operator = rule(module, shape)
        written = _torch_out_shape(module, shape)
    except BlindspaceError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ShapeError(f"{kind} cannot read an input of shape {shape}: {error}") from error
    if operator.out_shape != written:
        raise UnsupportedLayerError(
            f"{module} writes {written}, its map {operator.out_shape}: it has an option that is not supported here"
        )
    return operator


def _torch_out_shape(module: nn.Module, shape: Shape, small: int = 2**20) -> Shape:
    """The shape torch itself says the module writes, so that torch checks every option.

    A module in float32 or float64 with at most ``small`` input values is run on zeros, a larger one on meta tensors,
    which have no values: their first use imports all of ``torch._dynamo``, which takes longer than a small audit. One
    that applies a map of this package, such as a resize of Pillow's, needs values at any size.
    """
    if type(module) is nn.Linear and len(shape) > 1:  # one token shows what it writes for all
        return (*shape[:-1], *_torch_out_shape(module, shape[-1:]))
    held = dict([*module.named_parameters(), *module.named_buffers()])
    first = next((value for value in held.values() if value.is_floating_point()), torch.empty(0))
    dtype = first.dtype
    real = dtype in (torch.float32, torch.float64)
    with torch.no_grad():
        if not real or math.prod(shape) > small:
            values = {name: torch.empty_like(value, device="meta") for name, value in held.items()}
            start = torch.empty(1, *shape, dtype=dtype, device="meta")
            try:
                return tuple(int(n) for n in torch.func.functional_call(module, values, (start,)).shape[1:])
            except BlindspaceError:
                if not real:
                    raise
        out = module(torch.zeros(1, *shape, dtype=dtype, device=first.device))
    return tuple(int(n) for n in out.shape[1:])


def _is_sequence(module: nn.Module) -> bool:
    """Whether a module only calls its parts in their order."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not hooked


def is_own_rule(module: nn.Module) -> bool:
    """Whether the map of a module comes from a rule of the user's own, not from one that stands in this file."""
    rule = _rule(module)
    return rule is not None and rule not in BUILT_IN


def _rule(module: nn.Module) -> Rule | None:
    """The rule for the class of a module; None if the class is unknown, or other code or a hook may do more."""
    if module._forward_hooks or module._forward_pre_hooks:
        return None
    kinds = (kind for kind in type(module).__mro__ if issubclass(kind, nn.Module) and kind in RULES)
    return next((RULES[kind] for kind in kinds if _runs_code_of(module, kind)), None)


def _runs_code_of(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether no method of a class, nor of those that it inherits from, is replaced in a module or its own class."""
    for each in kind.__mro__:
        for name, method in vars(each).items():
            runs = inspect.isfunction(method) and name not in UNUSED and not name.startswith("_load")
            if runs and (getattr(type(module), name, None) is not getattr(kind, name) or name in vars(module)):
                return False
    return True


def _in_eval(module: nn.Module) -> None:
    if module.training:
        raise UnsupportedLayerError(f"{type(module).__name__} is affine in eval only; call eval() on the network first")


def _per_axis(value: Any, axes: int) -> tuple[Any, ...]:
    """One entry per axis, as torch's functions make it of one number."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * axes


@register(nn.Linear)
def _linear(module: nn.Linear, shape: Shape) -> LinearMap:
    return operations.linear(shape, module.weight)


@register(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _convolution(module: nn.Conv2d, shape: Shape) -> LinearMap:
    return operations.convolution(
        shape, module.weight, module.stride, module.padding, module.dilation, module.groups, module.padding_mode
    )


@register(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _transposed_convolution(module: nn.ConvTranspose2d, shape: Shape) -> LinearMap:
    given: Any = module
    return operations.transposed_convolution(
        shape, module.weight, module.stride, given.padding, module.dilation, module.groups, given.output_padding
    )


@register(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _average_pool(module: nn.AvgPool2d, shape: Shape) -> LinearMap:
    return operations.average_pool(
        shape,
        _per_axis(module.kernel_size, len(shape) - 1),
        module.stride,
        module.padding,
        ceil_mode=module.ceil_mode,
        count_include_pad=module.count_include_pad,
        divisor=getattr(module, "divisor_override", None),
    )


@register(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
def _adaptive_average_pool(module: nn.AdaptiveAvgPool2d, shape: Shape) -> LinearMap:
    return operations.adaptive_average_pool(shape, _per_axis(module.output_size, len(shape) - 1))


@register(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def _upsample(module: nn.Upsample, shape: Shape) -> LinearMap:
    axes = len(shape) - 1
    size = None if module.size is None else _per_axis(module.size, axes)
    scale = None if module.scale_factor is None else _per_axis(module.scale_factor, axes)
    if scale is not None and module.recompute_scale_factor:
        # The positions are computed from the sizes, not from the factors as they were given.
        size, scale = tuple(math.floor(n * factor) for n, factor in zip(shape[1:], scale, strict=True)), None
    return operations.resize(shape, size, module.mode, scale=scale, align_corners=bool(module.align_corners))


@register(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
def _batch_norm(module: nn.BatchNorm2d, shape: Shape) -> LinearMap:
    _in_eval(module)
    if module.running_var is None:
        raise UnsupportedLayerError(f"{type(module).__name__} has no running statistics, so it is not affine")
    return operations.batch_norm(shape, module.running_var, module.eps, module.weight)


@register(nn.Identity)
def _identity(module: nn.Module, shape: Shape) -> LinearMap:
    return Identity(shape)


@register(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
def _dropout(module: nn.Module, shape: Shape) -> LinearMap:
    _in_eval(module)
    return Identity(shape)


@register(nn.Flatten, nn.Unflatten)
def _reshaped(module: nn.Module, shape: Shape) -> LinearMap:
    return operations.reshape(shape, _torch_out_shape(module, shape))


@register(nn.PixelShuffle)
def _pixel_shuffle(module: nn.PixelShuffle, shape: Shape) -> LinearMap:
    return operations.pixel_shuffle(shape, module.upscale_factor)


@register(nn.PixelUnshuffle)
def _pixel_unshuffle(module: nn.PixelUnshuffle, shape: Shape) -> LinearMap:
    return operations.pixel_unshuffle(shape, module.downscale_factor)


def _padding(mode: str) -> Rule:
    def rule(module: nn.Module, shape: Shape) -> LinearMap:
        amounts: Any = module.padding  # torch: last axis first, (before, after) each
        pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
        return operations.pad(shape, pairs, mode)

    return rule


register(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)(_padding("zeros"))
register(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d)(_padding("zeros"))
register(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d)(_padding("reflect"))
register(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d)(_padding("replicate"))
register(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)(_padding("circular"))

BUILT_IN = frozenset(RULES.values())
"""The rules that stand in this file."""
