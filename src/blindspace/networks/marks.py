"""Marks in the operations of a network: where a linear layer reads, and where it has written."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("blindspace::enters", mutates_args=())
def enters(x: Tensor, layer: str) -> Tensor:
    """The same numbers; the operation marks where a layer reads them."""
    return x.clone()


@torch.library.custom_op("blindspace::leaves", mutates_args=())
def leaves(x: Tensor, layer: str) -> Tensor:
    """The same numbers; the operation marks where a layer has written them."""
    return x.clone()


def _passed(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    """The derivative of a mark, which is the identity."""
    return gradient, None


enters.register_autograd(_passed)
leaves.register_autograd(_passed)

ENTERS, LEAVES = torch.ops.blindspace.enters.default, torch.ops.blindspace.leaves.default
"""The operations as torch records them."""
