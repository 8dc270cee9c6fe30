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
from .preprocessing_modules import Normalise


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
    """Coordinates along principal components, in units of the standard deviations; not trained further.

    Args:
        shape: Shape of an image.
        dim: Number of latent variables.
    """

    def __init__(self, shape: Shape, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(prod(shape), dim).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, *shape)`` to latent variables ``(B, dim)``."""
        latent: Tensor = self.linear(x.flatten(-3))
        return latent

    @torch.no_grad()
    def start(self, components: PrincipalComponents) -> None:
        """Take the components of greatest variance."""
        dim = self.linear.out_features
        deviations = components.variances[:dim, None].sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        whitened = components.components[:dim].flatten(1) / deviations
        self.linear.weight.copy_(whitened)
        self.linear.bias.copy_(-whitened @ components.mean.flatten())


class PrincipalDecoder(nn.Module):
    """The point with given coordinates along principal components, plus a trained correction of that image.

    The correction is a convolutional network on 2×2 blocks of pixels; it starts at 0.

    Args:
        shape: Shape ``(C, H, W)`` of an image, H and W even.
        dim: Number of latent variables.
        channels: Channels of the hidden layers of the correction.
    """

    def __init__(self, shape: Shape, dim: int, channels: int) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(dim, prod(shape)).requires_grad_(False)
        last = nn.Conv2d(channels, 4 * shape[0], 3, 1, 1)
        self.correction = nn.Sequential(
            Normalise([0.5] * shape[0], [0.25] * shape[0]),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * shape[0], channels, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.GELU(),
            last,
            nn.PixelShuffle(2),
        )
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, z: Tensor) -> Tensor:
        """Latent variables ``(B, dim)`` to images ``(B, *shape)``."""
        flat: Tensor = self.linear(z).unflatten(-1, self.shape)
        return flat + self.correction(flat)  # type: ignore[no-any-return]

    @torch.no_grad()
    def start(self, components: PrincipalComponents) -> None:
        """Take the components of greatest variance."""
        dim = self.linear.in_features
        self.linear.weight.copy_(components.components[:dim].flatten(1).T * components.variances[:dim].sqrt())
        self.linear.bias.copy_(components.mean.flatten())


def principal_autoencoder(shape: Shape, dim: int, channels: int) -> Autoencoder:
    """A curved manifold above the plane of principal components: before training it is PCA of equal dimension."""
    return Autoencoder(PrincipalEncoder(shape, dim), PrincipalDecoder(shape, dim, channels), dim)


def _perceptron_of(dataset: str) -> Builtin:
    shape, name = SHAPES[dataset], dataset.split("-")[0]
    recipe = Recipe(dataset, 20, 256, learning_rate=6e-3, weight_decay=0.0, optimiser="adam")
    build = partial(perceptron_autoencoder, shape, 256, 128, 16)
    return Builtin(f"{name}-autoencoder", shape, build, recipe, "reconstruction")


def _cifar() -> Builtin:
    shape = SHAPES["cifar10"]
    recipe = Recipe("cifar10", 3, 128, learning_rate=2e-3, weight_decay=0.0, optimiser="adam")
    return Builtin("cifar-autoencoder", shape, partial(principal_autoencoder, shape, 128, 48), recipe, "reconstruction")


AUTOENCODERS: dict[str, Builtin] = {
    network.name: network for network in (_perceptron_of("mnist"), _perceptron_of("fashion-mnist"), _cifar())
}
"""Autoencoders by the names that ``train`` takes."""
