"""The operation that makes the numbers of an output, behind all that merely move them."""

from __future__ import annotations

import re

from torch import Tensor

MOVES = (
    "alias", "cast", "cat", "clone", "dropout", "expand", "flatten", "gather", "globalaveragepool", "identity",
    "index", "mean", "permute", "reducemean", "reshape", "reshapealias", "select", "slice", "split", "squeeze", "t",
    "tocopy", "transpose", "unsafeview", "unsqueeze", "view",
)  # fmt: skip
"""Operations of torch and ONNX that move numbers or average them, in small letters."""


def last_operation(output: Tensor) -> str:
    """The operation of torch that made the numbers of a tensor, in small letters, such as ``sigmoid``.

    Args:
        output: A tensor made with gradients.

    Returns:
        Its name; empty if the tensor has no gradient or joins several others.
    """
    node = output.grad_fn
    while node is not None:
        name = re.sub(r"Backward\d*$", "", node.name()).lower()
        if name not in MOVES:
            return name
        before = [each for each, _ in node.next_functions if each is not None]
        if len(before) != 1:
            return ""
        node = before[0]
    return ""
