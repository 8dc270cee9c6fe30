"""A small network of coloured pictures, for the tests of the web app: its weights are the same in every process."""

from __future__ import annotations

import torch
from torch import nn


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(384, 5)).eval()
