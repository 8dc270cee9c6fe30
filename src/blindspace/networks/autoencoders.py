"""The built-in autoencoders, whose decoders parametrise manifolds of images.

Their activations are smooth, so that the decoder's Jacobian is that of a smooth manifold, and none of their layers
computes statistics of a batch, so that it belongs to one image.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ..data import SHAPES, PrincipalComponents
from ..maps import Shape
from .builtin import Builtin, Recipe


class Autoencoder(nn.Module):
    """An encoder ``(B, *shape)`` → ``(B, dim)``, and a decoder back.

    Args:
        encoder: The encoder.
        decoder: The decoder.
        dim: Number of latent variables.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, dim: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.dim = encoder, decoder, dim

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, *shape)`` to their reconstructions, of the same shape."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction

    def fit_start(self, images: Tensor) -> None:
        """Choose initial weights by the training images ``(N, *shape)``, where the architecture has such."""
        halves = [
            each for each in (self.encoder, self.decoder) if isinstance(each, PrincipalEncoder | PrincipalDecoder)
        ]
        if halves:
            components = PrincipalComponents.of(images)
            for half in halves:
                half.start(components)


def _perceptron(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU()]
    return layers[:-1]


def perceptron_autoencoder(shape: Shape, *widths: int) -> Autoencoder:
    """Fully-connected layers with GELUs, of the given widths after the image; the last one is the latent dimension."""
    down = (prod(shape), *widths)
    encoder = nn.Sequential(nn.Flatten(-3), *_perceptron(*down))
    decoder = nn.Sequential(*_perceptron(*reversed(down)), nn.Unflatten(-1, shape))
    return Autoencoder(encoder, decoder, widths[-1])


class PrincipalEncoder(nn.Module):
    """Coordinates along principal components, in units of the standard deviations, plus a convolutional correction.

    The correction starts at 0.

    Args:
        shape: Shape ``(3, H, W)`` of an image.
        dim: Number of latent variables.
        channels: Channels of the first convolution.
    """

    def __init__(self, shape: Shape, dim: int, channels: int) -> None:
        super().__init__()
        c, side = channels, shape[-1] // 8
        self.linear = nn.Linear(prod(shape), dim)
        self.correction = nn.Sequential(
            nn.Conv2d(shape[0], c, 4, 2, 1),
            nn.GELU(),
            nn.Conv2d(c, 2 * c, 4, 2, 1),
            nn.GELU(),
            nn.Conv2d(2 * c, 2 * c, 4, 2, 1),
            nn.GELU(),
            nn.Flatten(-3),
            nn.Linear(2 * c * side * side, dim),
        )
        _to_zero(self.correction[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, *shape)`` to latent variables ``(B, dim)``."""
        latent: Tensor = self.linear(x.flatten(-3)) + self.correction(x)
        return latent

    @torch.no_grad()
    def start(self, components: PrincipalComponents) -> None:
        """Begin as the coordinates along the components, in units of the standard deviations."""
        dim = self.linear.out_features
        deviations = components.variances[:dim, None].sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        whitened = components.components[:dim].flatten(1) / deviations
        self.linear.weight.copy_(whitened)
        self.linear.bias.copy_(-whitened @ components.mean.flatten())


class PrincipalDecoder(nn.Module):
    """An affine map of the latent variables plus a convolutional correction, which starts at 0.

    Args:
        shape: Shape ``(3, H, W)`` of an image.
        dim: Number of latent variables.
        channels: Channels of the last convolution.
    """

    def __init__(self, shape: Shape, dim: int, channels: int) -> None:
        super().__init__()
        self.shape = shape
        c, side = channels, shape[-1] // 8
        self.linear = nn.Linear(dim, prod(shape))
        self.correction = nn.Sequential(
            nn.Linear(dim, 2 * c * side * side),
            nn.GELU(),
            nn.Unflatten(-1, (2 * c, side, side)),
            nn.ConvTranspose2d(2 * c, 2 * c, 4, 2, 1),
            nn.GELU(),
            nn.ConvTranspose2d(2 * c, c, 4, 2, 1),
            nn.GELU(),
            nn.ConvTranspose2d(c, shape[0], 4, 2, 1),
        )
        _to_zero(self.correction[-1])

    def forward(self, z: Tensor) -> Tensor:
        """Latent variables ``(B, dim)`` to images ``(B, *shape)``."""
        image: Tensor = self.linear(z).unflatten(-1, self.shape) + self.correction(z)
        return image

    @torch.no_grad()
    def start(self, components: PrincipalComponents) -> None:
        """Begin as the point with these coordinates along the components."""
        dim = self.linear.in_features
        self.linear.weight.copy_(components.components[:dim].flatten(1).T * components.variances[:dim].sqrt())
        self.linear.bias.copy_(components.mean.flatten())


def _to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def principal_autoencoder(shape: Shape, dim: int, channels: int) -> Autoencoder:
    """Principal components with non-linear corrections: before training it is PCA of equal dimension."""
    return Autoencoder(PrincipalEncoder(shape, dim, channels), PrincipalDecoder(shape, dim, channels), dim)


def _perceptron_of(dataset: str) -> Builtin:
    shape, name = SHAPES[dataset], dataset.split("-")[0]
    recipe = Recipe(dataset, 20, 256, learning_rate=6e-3, weight_decay=0.0, optimiser="adam")
    build = partial(perceptron_autoencoder, shape, 256, 128, 16)
    return Builtin(f"{name}-autoencoder", shape, build, recipe, "reconstruction")


def _cifar() -> Builtin:
    shape = SHAPES["cifar10"]
    recipe = Recipe("cifar10", 5, 256, learning_rate=1e-3, weight_decay=0.0, optimiser="adam")
    return Builtin("cifar-autoencoder", shape, partial(principal_autoencoder, shape, 128, 32), recipe, "reconstruction")


AUTOENCODERS: dict[str, Builtin] = {
    network.name: network for network in (_perceptron_of("mnist"), _perceptron_of("fashion-mnist"), _cifar())
}
"""Autoencoders by the names that ``train`` takes."""
