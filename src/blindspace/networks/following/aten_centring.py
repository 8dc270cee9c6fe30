"""Operations of ATen that read an operand only through its deviations from a mean: normalisations, variances, softmax.

They are not affine, but their first step is: a constant that is added to all values with a mean in common changes none
of their outputs, except for the mean itself, which some of them return as well and which is affine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BlindspaceError
from ...maps import LinearMap, Shape, operations
from ...maps.modules import Rules
from ..affine_graph import AffineGraph, Value
from .aten_call import Call, shape_of
from .aten_function import Function, coordinates

CHECKED = 1e-9
"""Largest change of outputs, relative to their size, that counts as rounding."""


@dataclass(frozen=True)
class Centred:
    """How an operation reads one of its operands.

    Attributes:
        tensor: The operand.
        shape: A shape of the same values in the same order.
        axes: The axes of that shape along which only deviations from the mean are read.
        mean: Index of the output that is the mean along these axes; None if there is none.
    """

    tensor: Tensor
    shape: Shape
    axes: tuple[int, ...]
    mean: int | None = None

    def average(self, call: Call, output: Tensor) -> list[tuple[Value, LinearMap]]:
        """The value that the mean is affine in, with its map to the output that is the mean."""
        value = call.value_of(self.tensor)
        mean = operations.reduce_sum(self.shape, self.axes, average=True)
        return [(value, operations.reshaped(mean, value.shape, shape_of(output)))]

    def read(self, graph: AffineGraph, call: Call) -> list[Value]:
        """The values that decide the other outputs; the centred one is added to the graph."""
        others = [call.value_of(tensor) for tensor in call.dependent if tensor is not self.tensor]
        part = graph.centred(call.value_of(self.tensor), self.shape, self.axes)
        return list(dict.fromkeys(others if part is None else [*others, part]))


def centred(call: Call) -> Centred | None:
    """How an operation reads an operand through its deviations from a mean; None if it is not known to do so."""
    rule = RULES.get(call.name)
    if rule is None or call.functional is None or not call.func._schema.name.startswith("aten::"):
        return None
    found = rule(call)
    if found is None or id(found.tensor) not in call.values or not call.value_of(found.tensor).affine:
        return None
    once = sum(tensor is found.tensor for tensor in call.tensors) == 1 and found.tensor.is_floating_point()
    try:
        return found if once and _ignores_constants(call, found) else None
    except BlindspaceError:
        return None  # torch refuses the operation in float64


def _ignores_constants(call: Call, found: Centred) -> bool:
    """Whether the operation itself, at a random point, ignores a constant added to values with a mean in common."""
    generator = torch.Generator().manual_seed(2)
    function = Function(call)
    place = next(place for place, operand in function.operands.items() if operand.tensor is found.tensor)
    points = {
        place: torch.randn(operand.value.shape, generator=generator, dtype=torch.float64)
        for place, operand in function.operands.items()
    }
    sizes = [1 if axis in found.axes else n for axis, n in enumerate(found.shape)]
    added = torch.randn(sizes, generator=generator, dtype=torch.float64).expand(found.shape)
    moved = points | {place: points[place] + added.reshape(points[place].shape)}
    for index, (a, b) in enumerate(zip(function.run(points), function.run(moved), strict=True)):
        if index == found.mean:
            mean = found.average(call, a)[0][1].forward(points[place])
            change = coordinates(a) - mean
        else:
            change = coordinates(b) - coordinates(a)
        if not bool((change.abs() <= CHECKED * (1 + coordinates(a).abs())).all()):
            return False
    return True


Rule = Callable[[Call], Centred | None]

RULES: Rules[str, Rule] = Rules()
"""The rules by the names of operations."""

rule = RULES.rule


INSTANCE_NORMS = (F.instance_norm, torch.instance_norm)


def _along(tensor: Tensor, axes: Iterable[int], mean: int | None = None) -> Centred | None:
    """A centring along axes of a tensor; None if one of them is the batch, whose images stay apart."""
    shape = tuple(tensor.shape) or (1,)
    along = tuple(sorted({axis % len(shape) for axis in axes}))
    return None if 0 in along and shape[0] == 1 else Centred(tensor, shape, along, mean)


@rule("native_layer_norm")
def _layer_norm(call: Call) -> Centred | None:
    tensor = call.given["input"]
    return _along(tensor, range(-len(call.given["normalized_shape"]), 0), mean=1)


@rule("native_group_norm")
def _group_norm(call: Call) -> Centred:
    tensor, groups = call.given["input"], call.given["group"]
    return Centred(tensor, (tensor.shape[0] * groups, tensor.numel() // tensor.shape[0] // groups), (1,), mean=1)


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional")
def _batch_norm(call: Call) -> Centred | None:
    """Instance norms, which call it with all channels of all images side by side and keep no statistics."""
    tensor = call.given["input"]
    own = any(function in INSTANCE_NORMS for function in call.within) and call.given.get("running_mean") is None
    if not own or not call.given.get("training") or tensor.shape[0] != 1:
        return None
    return Centred(tensor, (tensor.shape[1], tensor.numel() // tensor.shape[1]), (1,), mean=1)


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax")
def _softmax(call: Call) -> Centred | None:
    return _along(call.given["self"], [call.given["dim"]])


@rule("var", "std", "var_mean", "std_mean")
def _variance(call: Call) -> Centred | None:
    tensor, axes = call.given["self"], call.given.get("dim")
    return _along(tensor, axes or range(max(tensor.ndim, 1)), mean=1 if call.name.endswith("_mean") else None)
