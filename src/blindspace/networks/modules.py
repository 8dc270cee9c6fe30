"""Building blocks of the built-in networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..maps import LinearMap, Scale, Shape, register


class Normalise(nn.Module):
    """(x − mean) / std per channel, so that a network takes images in [0, 1] as they are.

    Args:
        mean: one value a channel, in units of the image.
        std: one value a channel, positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to the same shape, of about zero mean and unit variance."""
        return (x - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a skip connection (He et al. 2016).

    Args:
        in_channels: channels read.
        out_channels: channels written.
        stride: of the first convolution; the skip connection then is a strided 1×1 convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.skip = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, in_channels, H, W)`` to ``(B, out_channels, H/stride, W/stride)``."""
        z = self.relu1(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(z)) + self.skip(x))


@register(Normalise)
def _normalise(module: Normalise, shape: Shape) -> LinearMap:
    return Scale(1 / module.std.double().view(-1, 1, 1), shape)
