"""Where two runs of a network first part, whose inputs its front cannot tell apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import first_line
from .recorder import Recorder

APART = 1e-6
"""Difference, relative to the largest number of a tensor, from which on two results count as different."""


def first_difference(module: nn.Module, x: Tensor, y: Tensor) -> str:
    """The first operation that is not known to be affine and whose results for two inputs differ.

    Only two sums of each result are kept, so that a large network takes no more memory than when it runs.

    Args:
        module: The network.
        x: One input, without the batch, in the precision of the module.
        y: Another one.

    Returns:
        The operation and its place; empty if all results agree.
    """
    (first, failure), (second, _) = (_trace(module, point) for point in (x, y))
    for (name, a), (other, b) in zip(first, second, strict=False):
        if name != other:
            return f"{name} and {other}: the code takes another way"
        if bool(((a - b).abs() > APART * torch.maximum(a[-1], b[-1])).any()):
            return name
    return first_line(failure) if failure is not None else ""


def _trace(module: nn.Module, x: Tensor) -> tuple[list[tuple[str, Tensor]], Exception | None]:
    """Every result that is not known to be affine, as two sums and its size, and why the run ended early if it did."""
    found: list[tuple[str, Tensor]] = []

    def keep(name: str, result: Tensor) -> None:
        if result.is_floating_point() and result.numel():
            numbers = result.detach().double().flatten()
            weights = torch.arange(len(numbers), dtype=torch.float64).cos()
            size = numbers.abs().max()
            found.append((name, torch.stack([numbers.mean(), (numbers * weights).mean(), size])))

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        failure = Recorder(tuple(x.shape), module, x.dtype, keep).run(x[None])
    return found, failure
