"""The harmless sets of non-linear operations, by the names that ATen, torch's library of operations, gives to them.

A rule takes the values that the operation reads and its arguments, and returns the set; None if the operation is affine
with these arguments, or mixes the images of a batch. An operation without a rule has no set here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..networks.following.aten_call import Call
from .activation_sets import INF, Directions, HarmlessSet, Intervals, plateaus
from .maxima import adaptive_windows, of_maxima, pooling_windows, windows

SMALLEST = 1e-3
"""Smallest factor by which a group of values is scaled where any factor above 0 would do but for rounding."""

OFF = "units that are off, each up to its threshold"


@dataclass(frozen=True)
class Reading:
    """An operation that reads values of a network.

    Attributes:
        call: The operation with its arguments; one of them, as one tensor, depends on the network's input.
        tol: Largest change of a normalised output, relative to it, that a scaling may make.
    """

    call: Call
    tol: float = 0.0

    @cached_property
    def z(self) -> Tensor:
        """The values that it reads."""
        (found,) = self.call.dependent
        return found

    def of(self, name: str) -> Any:
        """An argument by its name; None if there is none of that name."""
        return self.call.given.get(name)

    def computed(self, z: Tensor) -> Tensor:
        """The first output of the operation for other values."""
        given = [z if x is self.z else x for x in self.call.args]
        out = (self.call.functional or self.call.func)(*given, **self.call.kwargs)
        found: Tensor = out if isinstance(out, Tensor) else out[0]
        return found

    def plateaus(self, reason: str, lower: Any = -INF, upper: Any = INF) -> HarmlessSet:
        """As ``activation_sets.plateaus``."""
        return plateaus(self.z, self.call.name, reason, lower, upper)


Rule = Callable[[Reading], HarmlessSet | None]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of these names."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def harmless_set_of(reading: Reading) -> HarmlessSet | None:
    """The harmless set of an operation at the values that it reads; None if there is no rule for it."""
    found = RULES.get(reading.call.name)
    return None if found is None or len(reading.call.dependent) != 1 else found(reading)


# --- one value at a time ----------------------------------------------------------------------------------


@rule("relu")
def _relu(r: Reading) -> HarmlessSet:
    return r.plateaus(OFF, lower=0.0)


@rule("threshold")
def _threshold(r: Reading) -> HarmlessSet:
    return r.plateaus(OFF, lower=r.of("threshold"))


@rule("hardtanh", "clamp", "clamp_min", "clamp_max", "maximum", "minimum")
def _clamp(r: Reading) -> HarmlessSet | None:
    ends: list[Any] = [r.of("min"), r.of("max")]
    if r.call.name == "hardtanh":
        ends = [r.of("min_val"), r.of("max_val")]
    elif r.call.name in ("maximum", "minimum"):
        other = r.of("other") if r.of("self") is r.z else r.of("self")
        ends = [other, None] if r.call.name == "maximum" else [None, other]
    low, high = ends
    tensors = [end for end in ends if isinstance(end, Tensor)]
    if any(torch.broadcast_shapes(end.shape, r.z.shape) != r.z.shape for end in tensors):
        return None
    reason = "units below the lower end or above the upper one, each up to that end"
    return r.plateaus(reason, -INF if low is None else low, INF if high is None else high)


@rule("hardsigmoid")
def _hardsigmoid(r: Reading) -> HarmlessSet:
    return r.plateaus("units below −3 or above 3, each up to that end", -3.0, 3.0)


@rule("hardswish")
def _hardswish(r: Reading) -> HarmlessSet:
    return r.plateaus("units below −3, each up to it; single other values with the same output are left out", -3.0)


@rule("hardshrink", "softshrink")
def _shrink(r: Reading) -> HarmlessSet:
    width, zero = float(r.of("lambd")), torch.zeros_like(r.z)
    inside = r.z.abs() <= width
    low, high = (torch.where(inside, end - r.z, zero) for end in (-width, width))
    # One unit in the last place inwards, so that rounding of z + δ does not leave the interval.
    low, high = torch.nextafter(low, zero), torch.nextafter(high, zero)
    return Intervals(r.z, r.call.name, f"units within ±{width:g}, which stay there", low, high)


@rule("leaky_relu", "_prelu_kernel", "rrelu_with_noise")
def _leaky(r: Reading) -> HarmlessSet:
    slope = r.of("weight") if r.call.name == "_prelu_kernel" else r.of("negative_slope")
    if r.call.name == "rrelu_with_noise":
        slope = (float(r.of("lower")) + float(r.of("upper"))) / 2
    flat = torch.as_tensor(slope, dtype=r.z.dtype) == 0
    if not bool(flat.any()):
        return _injective(r, "nothing: it is injective, with a slope on either side of 0")
    return r.plateaus("units that are off, where the slope there is 0", torch.where(flat, 0.0, -INF))


@rule("gelu", "silu", "mish", "tanh", "sigmoid", "elu", "celu", "softplus", "log_sigmoid_forward", "erf")
def _smooth(r: Reading) -> HarmlessSet:
    return _injective(r, "nothing: the function is constant on no interval, other than by rounding")


def _injective(r: Reading, reason: str) -> HarmlessSet:
    """No change at all; which outputs do not move in the precision of the values when these grow by 1 is noted."""
    zero = torch.zeros_like(r.z)
    rounds = r.computed(r.z) == r.computed(r.z + torch.where(r.z < 0, -1.0, 1.0))
    return Intervals(r.z, r.call.name, reason, zero, zero, rounds)


# --- maxima -----------------------------------------------------------------------------------------------


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(r: Reading) -> HarmlessSet:
    axes = 3 if "3d" in r.call.name else 1 if "1d" in r.call.name else 2
    n = r.z.shape[-axes:]

    def each(name: str, default: Sequence[int]) -> list[int]:
        given = r.of(name)
        sizes = [given] if isinstance(given, int) else list(given or default)
        return sizes * axes if len(sizes) == 1 else sizes

    kernel = each("kernel_size", [1])
    out = r.computed(r.z.to("meta")).shape[-axes:]
    stride, padding, dilation = each("stride", kernel), each("padding", [0]), each("dilation", [1])
    return _pooled(r, pooling_windows(n, out, kernel, stride, padding, dilation), n)


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(r: Reading) -> HarmlessSet:
    axes = int(r.call.name[-2])
    n, out = r.z.shape[-axes:], r.of("output_size")
    return _pooled(r, adaptive_windows(n, [out] * axes if isinstance(out, int) else list(out)), n)


def _pooled(r: Reading, table: Tensor, n: Sequence[int]) -> HarmlessSet:
    return of_maxima(r.z, r.call.name, table, r.z.reshape(-1, prod(n))).reshaped(r.z)


@rule("amax", "max")
def _amax(r: Reading) -> HarmlessSet | None:
    given = r.of("dim")
    if given is None or given == []:
        return None  # over the batch too
    axes = sorted(axis % r.z.ndim for axis in ([given] if isinstance(given, int) else given))
    if 0 in axes:
        return None
    order = [axis for axis in range(r.z.ndim) if axis not in axes] + axes
    moved = r.z.permute(order)
    size = prod(r.z.shape[axis] for axis in axes)
    found = of_maxima(moved, r.call.name, windows([size], [[list(range(size))]]), moved.reshape(-1, size))
    back = [order.index(axis) for axis in range(r.z.ndim)]
    low, high = (bound.reshape(moved.shape).permute(back) for bound in (found.low, found.high))
    return Intervals(r.z, r.call.name, found.reason, low, high)


# --- groups of values -------------------------------------------------------------------------------------


@rule("native_layer_norm")
def _layer_norm(r: Reading) -> HarmlessSet:
    axes = tuple(range(r.z.ndim - len(r.of("normalized_shape")), r.z.ndim))
    return _normalised(r, tuple(r.z.shape), axes)


@rule("native_group_norm")
def _group_norm(r: Reading) -> HarmlessSet:
    return _normalised(r, (len(r.z), int(r.of("group")), r.z[0].numel() // int(r.of("group"))), (2,))


@rule("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit")
def _instance_norm(r: Reading) -> HarmlessSet | None:
    """Instance norm, which torch computes as batch norm of one image that has the channels of all images."""
    training = r.of("training") or r.of("train")
    return _normalised(r, tuple(r.z.shape), tuple(range(2, r.z.ndim))) if training and len(r.z) == 1 else None


def _normalised(r: Reading, shape: tuple[int, ...], axes: tuple[int, ...]) -> HarmlessSet:
    """Shifts and scalings of groups of values that are normalised to mean 0 and variance 1."""
    eps = r.of("eps")
    variance = r.z.reshape(shape).var(axes, correction=0, keepdim=True)
    low, high = scalings(variance, 0.0 if eps is None else float(eps), r.tol)
    return Directions(r.z, r.call.name, _said("a constant added to a group", eps, r.tol), shape, axes, True, low, high)


@rule("rms_norm")
def _rms_norm(r: Reading) -> HarmlessSet:
    axes = tuple(range(r.z.ndim - len(r.of("normalized_shape")), r.z.ndim))
    eps = torch.finfo(r.z.dtype).eps if r.of("eps") is None else float(r.of("eps"))
    low, high = scalings(r.z.square().mean(axes, keepdim=True), eps, r.tol)
    return Directions(r.z, r.call.name, _said("", eps, r.tol), tuple(r.z.shape), axes, False, low, high)


@rule("_softmax", "_log_softmax", "_safe_softmax")
def _softmax(r: Reading) -> HarmlessSet:
    axis = int(r.of("dim")) % r.z.ndim
    return Directions(r.z, r.call.name, "a constant added to all values of a group", tuple(r.z.shape), (axis,), True)


def scalings(variance: Tensor, eps: float, tol: float) -> tuple[Tensor, Tensor]:
    """The scalings t of a group that change its normalised values by at most a share ``tol``.

    Values that are scaled by s = 1 + t have normalised values s √((σ² + ε) / (s² σ² + ε)) times as large.

    Args:
        variance: σ², the mean square of the deviations.
        eps: ε, what the operation adds to the variance.
        tol: The share; any is exact if ε is 0.
    """
    if eps == 0:
        return torch.full_like(variance, SMALLEST - 1), torch.full_like(variance, INF)

    def factor(ratio: float) -> Tensor:
        left = variance + eps - ratio**2 * variance
        return torch.where(left > 0, ratio * (eps / left.clamp(min=torch.finfo(left.dtype).tiny)).sqrt(), INF)

    # Without a tolerance nothing may be scaled, whatever rounding says.
    zero = torch.zeros_like(variance)
    return (factor(max(1 - tol, 0.0)) - 1, factor(1 + tol) - 1) if tol else (zero, zero)


def _said(shift: str, eps: float | None, tol: float) -> str:
    exact = eps == 0 or eps is None
    scale = "a scaling of a group" if exact else f"a scaling of a group that changes outputs by at most {tol:g} of them"
    parts = [part for part in (shift, scale if exact or tol else "") if part]
    return " and ".join(parts) if parts else f"nothing: ε = {eps:g} keeps scalings from being exact"
