"""Building blocks of the built-in networks, and of the preprocessing in front of other networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ShapeError
from ..maps import Diagonal, LinearMap, Shape, operations, register
from ..maps.resizing.pytorch import NO_ANTIALIAS


class Normalise(nn.Module):
    """(x − mean) / std per channel, so that a network takes images in [0, 1] as they are.

    Args:
        mean: One value per channel, in units of the image.
        std: One value per channel, not 0.
        axis: Axis of the channels, counted from the last.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], axis: int = -3) -> None:
        super().__init__()
        self.channels = (-1, *[1] * (-1 - axis))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to the same shape, with about zero mean and unit variance."""
        return (x - self.mean.view(self.channels)) / self.std.view(self.channels)


class Resize(nn.Module):
    """Images to another size, as torch, Pillow (the preprocessing of most networks) or another library resizes them.

    Args:
        size: (height, width), or one number for the shorter side: the aspect ratio is then kept and the longer side
            rounded down, as in torchvision, timm and transformers.
        mode: One of torch's modes for images, or a mode of the other library, such as Pillow's nearest, box, bilinear,
            hamming, bicubic, lanczos.
        antialias: Whether torch's bilinear and bicubic modes widen their filter; for other libraries the mode says so.
        convention: "torch"; or "pil", "opencv" and others (``maps.resizing.registry.LIBRARIES``) for the weights of
            that library, in float arithmetic and differentiable.

    Raises:
        UnknownNameError: No such mode or convention exists.
        ShapeError: The mode is not for images.
    """

    def __init__(
        self, size: int | Sequence[int], mode: str = "bilinear", antialias: bool = True, convention: str = "torch"
    ) -> None:
        super().__init__()
        self.size = size if isinstance(size, int) else tuple(size)
        if convention == "torch" and mode.endswith(NO_ANTIALIAS):
            mode, antialias = mode.removesuffix(NO_ANTIALIAS), False
        self.mode, self.convention = mode, convention
        self.antialias = antialias and mode in ("bilinear", "bicubic")
        _resize((1, 1, 1), (1, 1), mode, self.antialias, convention)  # refuses unknown names at once

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to ``(B, C, *size)``."""
        size = self.size_of(x.shape[-2:])
        # Into one column torch 2.13 antialiases along the wrong axis; the map's own matrices are used there.
        if self.convention == "torch" and not (self.antialias and size[1] == 1):
            return F.interpolate(x, size, mode=self.mode, antialias=self.antialias)
        return _resize(tuple(x.shape[1:]), size, self.mode, self.antialias, self.convention).forward(x)

    def size_of(self, image: Sequence[int]) -> tuple[int, int]:
        """(height, width) of an image of the given height and width after resizing."""
        if not isinstance(self.size, int):
            return self.size[0], self.size[1]
        height, width = image
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)

    @property
    def resizer(self) -> str:
        """Its name in the registry of resizers, ``maps.resizing``."""
        plain = self.convention == "torch" and self.mode in ("bilinear", "bicubic") and not self.antialias
        return f"{self.convention} {self.mode}{NO_ANTIALIAS if plain else ''}"

    def extra_repr(self) -> str:
        """The arguments of the module."""
        return f"{self.size}, {self.mode}, antialias={self.antialias}, convention={self.convention}"


class CentreCrop(nn.Module):
    """The middle of an image; an odd margin is halved as torchvision rounds it.

    Args:
        size: (height, width), or one number for both.
        smaller_first: Whether the smaller half of an odd margin is always above and to the left, as in transformers.
    """

    def __init__(self, size: int | Sequence[int], smaller_first: bool = False) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.smaller_first = smaller_first

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to ``(B, C, *size)``.

        Raises:
            ShapeError: The image is smaller.
        """
        (top, _), (left, _) = self.margins(x.shape[-2:])
        return x[..., top : top + self.size[0], left : left + self.size[1]]

    def margins(self, image: Sequence[int]) -> list[tuple[int, int]]:
        """Pixels that are cut off (before, after) per axis of an image of the given height and width.

        Raises:
            ShapeError: The image is smaller.
        """
        if any(n < wanted for n, wanted in zip(image, self.size, strict=True)):
            raise ShapeError(
                f"an image of {tuple(image)} pixels has no middle of {self.size}; resize it to a larger size first"
            )
        cut_before = math.floor if self.smaller_first else round
        before = [cut_before((n - wanted) / 2) for n, wanted in zip(image, self.size, strict=True)]
        return [(cut, n - wanted - cut) for n, wanted, cut in zip(image, self.size, before, strict=True)]

    def extra_repr(self) -> str:
        """The arguments of the module."""
        return f"{self.size}"


class Multiply(nn.Module):
    """Every value times one factor, such as 255 for networks that read pixels from 0 to 255.

    Args:
        factor: The factor, not 0.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any batch to one of the same shape."""
        return x * self.factor

    def extra_repr(self) -> str:
        """The arguments of the module."""
        return f"{self.factor:g}"


class AffineMap(nn.Module):
    """A linear map, and a constant added to its result.

    Args:
        operator: The map.
        constant: ``(*operator.out_shape,)``.
    """

    constant: Tensor

    def __init__(self, operator: LinearMap, constant: Tensor) -> None:
        super().__init__()
        self.operator = operator
        self.register_buffer("constant", constant, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *operator.in_shape)`` to ``(B, *operator.out_shape)``."""
        return self.operator.forward(x) + self.constant

    def extra_repr(self) -> str:
        """The arguments of the module."""
        return f"{self.operator}"


class FlipChannels(nn.Module):
    """Channels in reverse order: RGB to BGR."""

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to the same shape."""
        return x.flip(1)


class ChannelsLast(nn.Module):
    """The channels as the last axis, as networks of TensorFlow read them."""

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to ``(B, H, W, C)``."""
        return x.permute(0, 2, 3, 1)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a skip connection (He et al. 2016).

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        stride: Stride of the first convolution; if it is not 1, the skip connection is a strided 1×1 convolution.
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
    return Diagonal(1 / module.std.double().view(module.channels), shape)  # other than a product, it must not broadcast


@lru_cache(maxsize=8)
def _resize(shape: Shape, size: tuple[int, int], mode: str, antialias: bool, convention: str) -> LinearMap:
    return operations.resize(shape, size, mode, antialias=antialias and convention == "torch", convention=convention)


@register(Resize)
def _resized(module: Resize, shape: Shape) -> LinearMap:
    return _resize(shape, module.size_of(shape[-2:]), module.mode, module.antialias, module.convention)


@register(CentreCrop)
def _cropped(module: CentreCrop, shape: Shape) -> LinearMap:
    return operations.pad(shape, [(-before, -after) for before, after in module.margins(shape[-2:])])


@register(Multiply)
def _multiplied(module: Multiply, shape: Shape) -> LinearMap:
    return operations.multiply(shape, module.factor)


@register(AffineMap)
def _affine_map(module: AffineMap, shape: Shape) -> LinearMap:
    return operations.reshaped(module.operator, shape, module.operator.out_shape)


@register(FlipChannels)
def _flipped(module: FlipChannels, shape: Shape) -> LinearMap:
    return operations.move(shape, operations.numbered(shape).flip(0))


@register(ChannelsLast)
def _channels_last(module: ChannelsLast, shape: Shape) -> LinearMap:
    return operations.permute(shape, (1, 2, 0))
