"""Code as networks that are followed, and the matrix of affine code by differences of its outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from blindspace.networks import Network

Function = Callable[[Tensor], Tensor]


class Code(nn.Module):
    """A function as a module that no rule knows."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def network(function: Function, shape: tuple[int, ...]) -> Network:
    """A function as a network."""
    return Network("code", Code(function).eval(), shape)


def seeded(*shape: int) -> Tensor:
    """Random numbers from NumPy, as those that torch draws while it is watched are not constant."""
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))
