"""Data sets for the tests of the theory, and the slow, obvious second implementation of its formulas."""

from __future__ import annotations

import torch
from torch import Tensor


def samples(kind: str, count: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples ``(N, d)`` of a kind, and labels of which both occur."""
    draw = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, dim, generator=draw, dtype=torch.float64) - 1
    if kind == "orthogonal":
        x = torch.linalg.qr(x.T).Q.T * (1 + torch.rand(count, 1, generator=draw, dtype=torch.float64))
    y = 1.0 - 2.0 * torch.randint(0, 2, (count,), generator=draw).double()
    y[:2] = torch.tensor([1.0, -1.0])
    return x, y


def outputs(weights: Tensor, readout: Tensor, slope: float, x: Tensor) -> Tensor:
    """f(x), neuron by neuron and sample by sample."""
    found = []
    for sample in x:
        hidden = [(row * sample).sum() for row in weights]
        found.append(sum(a * (h if h > 0 else slope * h) for a, h in zip(readout, hidden, strict=True)))
    return torch.stack([torch.as_tensor(value) for value in found])


def log_loss(weights: Tensor, readout: Tensor, slope: float, x: Tensor, y: Tensor) -> Tensor:
    """The logarithm of the mean exponential loss."""
    return (-y * outputs(weights, readout, slope, x)).exp().mean().log()
