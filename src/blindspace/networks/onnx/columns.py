"""The linear maps of ONNX operations that have no structure here, column by column: the node is run on unit vectors."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch

from ...errors import FileError
from ...maps import Dense, operations
from .call import Call, Terms
from .session import Array, node_alone

LINEAR = {
    "AffineGrid": (0,), "Attention": (2, 5), "BatchNormalization": (1, 2, 3), "CausalConvWithState": (0, 1, 2, 3),
    "Col2Im": (0,), "Conv": (0, 1, 2), "ConvTranspose": (0, 1, 2), "DeformConv": (0, 1, 3, 4),
    "DequantizeLinear": (1,), "GroupNormalization": (1, 2), "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2), "LinearAttention": (0, 2, 3), "NegativeLogLikelihoodLoss": (0,), "OneHot": (2,),
    "PRelu": (1,), "RMSNormalization": (1,), "RoiAlign": (0,), "RotaryEmbedding": (0, 1, 2), "STFT": (0, 2),
    "ScatterElements": (0, 2), "ScatterND": (0, 2),
}  # fmt: skip
"""The operands in which operations of the standard are affine if all others are constant."""

MOST_COLUMNS = 1 << 12
"""Number of values up to which an operand is varied one value at a time."""

MOST_ENTRIES = 1 << 24
"""Number of entries up to which a matrix is made."""


def by_columns(call: Call) -> list[Terms] | None:
    """The outputs as products of matrices with the only operand that varies."""
    given = call.attributes
    if len(call.varying) != 1 or call.varying[0] not in LINEAR.get(call.op, ()):
        return None
    (index,) = call.varying
    kinds = ("none", "add", "sum", "mean", *(["mul"] if index == 0 else []))  # several updates may be multiplied
    if given.get("reduction", "none") not in kinds or given.get("mode") == "max":
        return None
    if given.get("activation", "none") != "none":
        return None
    tensor, size = call.tensor(index), prod(call.tensor(index))
    if size > MOST_COLUMNS or size * max(map(prod, call.outputs)) > MOST_ENTRIES:
        return None
    zero = np.zeros(tensor)
    try:
        run = node_alone(call.node, {index: zero}, _in(call, np.float64), call.opsets)
    except FileError:  # many operations do not exist in double precision
        zero = zero.astype(np.float32)
        run = node_alone(call.node, {index: zero}, _in(call, np.float32), call.opsets)
    start = run({index: zero})
    matrices = [np.zeros((output.size, size)) for output in start]
    for column in range(size):
        unit = zero.copy()
        unit.flat[column] = 1
        for matrix, output, without in zip(matrices, run({index: unit}), start, strict=True):
            same = output == without  # what is infinite stays so
            matrix[:, column] = np.subtract(
                output, without, dtype=np.float64, where=~same, out=np.zeros(same.shape)
            ).ravel()
    written = iter(matrices)
    return [
        [(index, operations.reshaped(Dense(torch.from_numpy(next(written))), call.shape(index), call.out_shape(place)))]
        if name
        else []
        for place, name in enumerate(call.node.output)
    ]


def _in(call: Call, dtype: type[Any]) -> dict[int, Array]:
    return {i: x.astype(dtype) if x.dtype.kind == "f" else x for i, x in call.constants.items()}
