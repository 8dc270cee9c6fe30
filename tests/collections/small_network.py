"""A small network of coloured pictures, whose harmless space is found in no time."""

from __future__ import annotations

from torch import nn


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5))
