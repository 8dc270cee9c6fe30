"""Which of torch's operations are affine in what they read, and the maps they are.

An operation with a linear map of its own gets that; one that only moves values is run on their numbers; of the others
known to be linear the derivative serves. Each map is checked against the operation itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import BlindspaceError
from ...maps import Diagonal, Jacobian, LinearMap, Padding, Rearrange, Shape, compose, gather
from ..affine_graph import Value
from .aten_call import Call, expanded, value_shape
from .aten_rules import RULES

Reads = list[tuple[Value, LinearMap]]
"""The values that one is the sum of, and by what maps."""

VIEWS = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "clone", "detach", "alias",
    "contiguous", "lift_fresh", "flatten", "unflatten",
)  # fmt: skip
"""Operations after which all values stand in the same order."""

PASSED_ON = (*VIEWS, "permute", "transpose", "t", "_to_copy", "_conj", "movedim")
"""Those after which all values are there."""

MOVES = (
    "slice", "select", "narrow", "expand", "flip", "roll", "unfold", "unbind", "split", "split_with_sizes", "chunk",
    "index_select", "index", "gather", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d",
    "constant_pad_nd", "im2col", "cat", "stack", "repeat", "repeat_interleave", "tile", "diagonal", "movedim",
    "masked_fill", "take", "rot90", "tril", "triu",
)  # fmt: skip
"""Operations that write values where they are read or elsewhere, and constants."""

LINEAR = (
    "bmm", "baddbmm", "mm", "addmm", "mv", "addmv", "dot", "convolution", "cumsum", "sum", "mean", "col2im",
    "upsample_trilinear3d", "avg_pool3d", "trace", "diff", "where", "lerp", "addcmul", "index_add", "scatter_add",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "mul", "div", "add", "sub", "rsub",
)  # fmt: skip
"""Operations that may be affine in one of the tensors they read, the others being constant; ``_agrees`` finds out."""

CHECKED = 1e-9
"""How far a map may be from the operation it stands for, as a share."""


def linear_part(call: Call) -> list[Reads | None] | None:
    """For every output of an operation, the values it reads and by what maps; None where it is not known to be affine.

    Args:
        call: before it runs.
    """
    tensors = call.dependent()
    if not all(call.values[id(tensor)].affine and tensor.is_floating_point() for tensor in tensors):
        return None
    if call.functional is None or call.func._schema.name.split("::")[0] != "aten":
        return None
    try:
        found = _outputs(call, tensors)
        return found if found is not None and _agrees(call, tensors, found) else None
    except (BlindspaceError, RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
        return None  # an option that its rule does not serve


def _outputs(call: Call, tensors: list[Tensor]) -> list[Reads | None] | None:
    name = call.name
    if name == "copy":  # copy_(self, src): what was there is gone
        source = call.given["src"]
        return [_sum(call, [(source, 1.0)], call.given["self"])] if id(source) in call.values else None
    if name in ("add", "sub", "rsub"):
        return [_added(call)]
    if name in VIEWS or name in ("_to_copy", "_conj"):
        target = call.given.get("dtype")
        if target is not None and not target.is_floating_point:
            return None
        return [
            [(value, Rearrange(value.shape, value_shape(call.run(_empty(tensors), _as_is)[0])))]
            for value in _values(call, tensors)
        ]
    if name in MOVES:
        return _moved(call, tensors)
    rule = RULES.get(name)
    if len(tensors) != 1:
        return None
    operator = rule(call) if rule is not None else None
    if operator is None and name in LINEAR:
        operator = _derivative(call, tensors[0])
    return None if operator is None else [[(call.values[id(tensors[0])], operator)]]


def _values(call: Call, tensors: list[Tensor]) -> list[Value]:
    return [call.values[id(tensor)] for tensor in tensors]


def _empty(tensors: list[Tensor]) -> dict[int, Tensor]:
    return {id(tensor): torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in tensors}


def _as_is(tensor: Tensor) -> Tensor:
    return tensor


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor


def _nothing(tensor: Tensor) -> Tensor:
    """Zeros for constants that stand beside the values; positions and masks stay."""
    return torch.zeros(tensor.shape, dtype=torch.float64) if tensor.is_floating_point() else tensor


# --- operations that move values ---------------------------------------------------------------------------


def _moved(call: Call, tensors: list[Tensor]) -> list[Reads | None]:
    """By running the operation on the numbers of the values, each tensor by itself."""
    zeros = {id(tensor): torch.zeros(tensor.shape, dtype=torch.float64) for tensor in tensors}
    base = call.run(zeros, _nothing)  # what constants such as a padding value write
    found: list[Reads | None] = [[] for _ in base]
    for tensor in tensors:
        value = call.values[id(tensor)]
        numbers = torch.arange(1, tensor.numel() + 1, dtype=torch.float64).reshape(tensor.shape)
        for index, (with_it, without) in enumerate(
            zip(call.run({**zeros, id(tensor): numbers}, _nothing), base, strict=True)
        ):
            reads = found[index]
            assert reads is not None
            reads.append(
                (value, _simply(call, value, (with_it - without).round().long().flatten() - 1, value_shape(with_it)))
            )
    return found


def _simply(call: Call, value: Value, read: Tensor, out_shape: Shape) -> LinearMap:
    """A move as zero padding or a crop where it is one: the fast solvers look for these."""
    given = call.given
    axes = len(value.shape) - 1
    if call.name == "constant_pad_nd" and len(given["pad"]) <= 2 * axes:
        pairs = [(int(a), int(b)) for a, b in zip(given["pad"][::2], given["pad"][1::2], strict=True)]
        operator: LinearMap = Padding(value.shape, pairs[::-1])
    elif call.name == "slice" and given["step"] == 1 and axes and len(out_shape) == len(value.shape):
        changed = [axis for axis in range(1, axes + 1) if out_shape[axis] != value.shape[axis]]
        start = _first(read, value.shape)
        if value.shape[0] != out_shape[0] or len(changed) > 1:
            return gather(value.shape, out_shape, read)
        cuts = [(-start[a], -(value.shape[a] - start[a] - out_shape[a])) for a in range(1, axes + 1)]
        operator = Padding(value.shape, cuts)
    else:
        return gather(value.shape, out_shape, read)
    return operator if operator.out_shape == out_shape else gather(value.shape, out_shape, read)


def _first(read: Tensor, shape: Shape) -> list[int]:
    """Where the first value that is read lies."""
    return [int(i) for i in torch.unravel_index(read[0], shape)]


def _sum(call: Call, terms: Sequence[tuple[Any, float]], like: Any = None) -> Reads | None:
    """Of tensors times factors, those that depend on the input, each brought to the shape of all together."""
    shapes = [tensor.shape for tensor, _ in terms if isinstance(tensor, Tensor)]
    whole = like.shape if isinstance(like, Tensor) else torch.broadcast_shapes(*shapes)
    reads: Reads = []
    for tensor, factor in terms:
        if not isinstance(tensor, Tensor) or id(tensor) not in call.values:
            continue
        value = call.values[id(tensor)]
        operator = expanded(value, tensor, whole)
        reads.append(
            (value, operator if factor == 1 else compose(operator, Diagonal(torch.tensor(factor), operator.out_shape)))
        )
    return reads


def _added(call: Call) -> Reads | None:
    given = call.given
    alpha = float(given.get("alpha") or 1)
    signs = {"add": (1.0, alpha), "sub": (1.0, -alpha), "rsub": (-alpha, 1.0)}[call.name]
    return _sum(call, list(zip((given["self"], given["other"]), signs, strict=True)))


# --- all others that are linear ----------------------------------------------------------------------------


def _derivative(call: Call, tensor: Tensor) -> LinearMap:
    """The derivative of the operation in one tensor. ``_agrees`` then finds out whether it was affine."""
    value = call.values[id(tensor)]
    shape = tuple(tensor.shape)

    def function(x: Tensor) -> Tensor:
        out = call.run(
            {id(tensor): x.reshape(shape)}, lambda t: _double(t).to(x.dtype) if t.is_floating_point() else t
        )[0]
        return out.reshape(value_shape(out))

    return Jacobian(function, value.shape, torch.rand(value.shape, dtype=torch.float64), call.name)


def _agrees(call: Call, tensors: list[Tensor], found: list[Reads | None]) -> bool:
    """Whether the operation does what its maps do, from one random point to another, in float64."""
    if call.name == "_to_copy":
        return True  # its dtype is the one it is asked for
    generator = torch.Generator().manual_seed(1)
    here, there = (
        {id(t): torch.randn(t.shape, generator=generator, dtype=torch.float64) for t in tensors} for _ in range(2)
    )
    before, after = (call.run(point, _double) for point in (here, there))
    if any(isinstance(operator, Jacobian) for reads in found for _, operator in reads or []):
        # No derivative can be taken while torch is being watched; that it is the same everywhere can be seen.
        between = call.run({key: (here[key] + there[key]) / 2 for key in here}, _double)
        return all(_near(2 * c - a - b, a, b) for a, b, c in zip(before, after, between, strict=True))
    tensor_of = {call.values[key]: key for key in here}
    for reads, a, b in zip(found, before, after, strict=False):
        change = (b - a).flatten()
        for value, operator in reads or []:
            key = tensor_of[value]
            change = change - operator.forward((there[key] - here[key]).reshape(1, *operator.in_shape)).flatten()
        if reads is not None and not _near(change, a, b):
            return False
    return True


def _near(error: Tensor, a: Tensor, b: Tensor) -> bool:
    """Whether nothing but rounding is left beside two tensors."""
    return not error.numel() or float(error.abs().max()) <= CHECKED * float(a.abs().max() + b.abs().max())
