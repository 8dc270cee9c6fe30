"""Samples with labels −1 and 1 for the theory of two-layer networks: drawn at random, or two classes of MNIST."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..parts import Preset, Settings
from .models import images

ORTHOGONAL, UNIFORM, GAUSSIAN = "orthogonal", "uniform", "Gaussian"
"""Samples at random, with random labels: orthogonal ones with norms from 1 to 2, of uniform values from −1 to 1, and of
standard normal values."""

MNIST = "MNIST {} against {}"
"""Samples of two digits, from which the mean of both is subtracted."""


@dataclass(frozen=True)
class Binary:
    """Samples to train on, and points to compare networks at.

    Attributes:
        x: Samples, float64 ``(N, d)``.
        y: Their labels −1 and 1, float64 ``(N,)``.
        z: Points drawn alike, float64 ``(B, d)``; of orthogonal samples, standard normal ones.
    """

    x: Tensor
    y: Tensor
    z: Tensor


def binary(kind: str, count: int, dim: int, points: int, draw: torch.Generator, s: Settings) -> Binary:
    """Draw samples of a kind, on the device of the settings.

    Args:
        kind: ``ORTHOGONAL``, ``UNIFORM``, ``GAUSSIAN``, or ``MNIST`` with two digits.
        count: Number of samples; of MNIST as many of both digits.
        dim: Number of values of each; MNIST has its own.
        points: Number of points; of MNIST at most the test images of both digits.
        draw: Source of all randomness.
        s: Settings, for their preset, of which smoke takes the embedded images of MNIST, and their device.
    """
    if kind.startswith("MNIST"):
        first, second = (int(word) for word in kind.split() if word.isdigit())
        train, test = (_digits(first, second, s.preset, split) for split in ("train", "test"))
        halves = [(train[1] == sign).nonzero()[:, 0] for sign in (1, -1)]
        some = torch.cat([of[torch.randperm(len(of), generator=draw)[: count // 2]] for of in halves])
        mean = train[0].mean(0)
        order = torch.randperm(len(test[0]), generator=draw)[:points]
        found = train[0][some] - mean, train[1][some], test[0][order] - mean
        return Binary(*(each.to(s.device) for each in found))
    x, z = (noise(kind, number, dim, draw, s.device) for number in (count, points))
    if kind == ORTHOGONAL:
        sizes = 1 + torch.rand(count, 1, generator=draw, dtype=torch.float64)
        x = torch.linalg.qr(x.T).Q.T * sizes.to(s.device)
    return Binary(x, signs(count, draw, s.device), z)


def noise(kind: str, count: int, dim: int, draw: torch.Generator, device: str = "cpu") -> Tensor:
    """Uniform values from −1 to 1, or standard normal ones for another kind, float64 ``(count, dim)``."""
    if kind == UNIFORM:
        return (2 * torch.rand(count, dim, generator=draw, dtype=torch.float64) - 1).to(device)
    return torch.randn(count, dim, generator=draw, dtype=torch.float64).to(device)


def signs(count: int, draw: torch.Generator, device: str = "cpu") -> Tensor:
    """Random labels −1 and 1, float64 ``(count,)``; the first two differ, so that both occur."""
    found = 1 - 2 * torch.randint(0, 2, (count,), generator=draw).double()
    found[:2] = torch.tensor([1.0, -1.0])[:count]
    return found.to(device)


def _digits(first: int, second: int, preset: Preset, split: str) -> tuple[Tensor, Tensor]:
    """All images of two digits, float64 ``(N, 784)``, and labels: 1 for the first digit, −1 for the second."""
    found = images("mnist", preset, split="train" if split == "train" else "test")
    labels = found.targets()
    some = (labels == first) | (labels == second)
    chosen = found.take(some.nonzero()[:, 0].tolist())
    return chosen.tensor().flatten(1).double(), torch.where(labels[some] == first, 1.0, -1.0).double()
