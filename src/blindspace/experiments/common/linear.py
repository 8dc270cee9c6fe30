"""A linear classifier of images, which learns whatever a linear function can."""

from __future__ import annotations

from math import prod

from torch import nn

from ...maps import Shape
from ...networks.preprocessing_modules import Normalise
from .learning import CLASSES


def linear_model(shape: Shape) -> nn.Sequential:
    """A linear model of images, which maps [0, 1] to [−1, 1] first as the small networks do; it starts at zero.

    Args:
        shape: Shape ``(C, H, W)`` of one image.
    """
    halves, layer = [0.5] * shape[0], nn.Linear(prod(shape), CLASSES)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(Normalise(halves, halves), nn.Flatten(), layer)
