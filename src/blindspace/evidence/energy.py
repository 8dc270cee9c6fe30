"""Share of each image's energy that lies in a blind subspace, beside that of suitable controls.

Natural images are far from noise: most of their energy is in their mean and in low frequencies, which few layers miss.
So the share of energy of an image says little by itself. It is measured for the image and for the image minus the mean
of each channel, beside three controls: dim/n, the expectation for Gaussian noise; the same pixels in random order; and
the same image in a random subspace of that dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._html import Shown
from ..errors import ValueRangeError, seed_of
from ..maps import Operator
from ..networks.arguments import as_images, as_space
from ..subspaces import Subspace

CHUNK_BYTES = 64 << 20
"""Bytes of images projected at a time."""

ROUNDED = 8 * torch.finfo(torch.float64).eps
"""Share of the largest value below which the centred values of an image are rounding errors of a constant image."""


@dataclass(frozen=True)
class Energies(Shown):
    """Shares of energy ‖P x‖² / ‖x‖² in a subspace, one per image; 0 for an image of zeros.

    Attributes:
        shape: shape of one image.
        dim: dimension of the subspace.
        raw: share for the images x themselves, float64 ``(B,)``.
        centred: share for the images minus the mean of each channel, ``(B,)``; 0 for a constant image.
        shuffled: share for the images with their pixels in random order, the same in every channel, ``(B,)``.
        shuffled_centred: share for these minus the mean of each channel, ``(B,)``.
        random: share of the images in a random subspace of the same dimension, drawn anew for each image, ``(B,)``.
        seed: seed of the order of pixels and of the random subspaces.
    """

    shape: tuple[int, ...]
    dim: int
    raw: Tensor
    centred: Tensor
    shuffled: Tensor
    shuffled_centred: Tensor
    random: Tensor
    seed: int

    @property
    def noise(self) -> float:
        """dim/n: the expected share of Gaussian noise, and of any image in a random subspace."""
        return self.dim / prod(self.shape)

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of the share of Gaussian noise."""
        return sqrt(2 * self.noise * (1 - self.noise) / (prod(self.shape) + 2))

    def shares(self) -> dict[str, Tensor]:
        """All measured shares, by name."""
        names = ("raw", "centred", "shuffled", "shuffled_centred", "random")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean, median, minimum and maximum over the images, for each kind of share."""
        return {
            name: {
                "mean": float(share.mean()),
                "median": float(share.quantile(0.5)),
                "min": float(share.min()),
                "max": float(share.max()),
            }
            for name, share in self.shares().items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "shape": list(self.shape),
            "dim": self.dim,
            "ambient_dim": prod(self.shape),
            "noise": self.noise,
            "noise_deviation": self.noise_deviation,
            "seed": self.seed,
            "summary": self.summary(),
            "images": {name: share.tolist() for name, share in self.shares().items()},
        }


def blind_energy(space: Operator, images: Tensor, seed: int = 0, input_shape: Sequence[int] | None = None) -> Energies:
    """The share of each image's energy that lies in a subspace, beside its controls.

    Args:
        space: the subspace; a network or a map stands for its nullspace.
        images: ``(B, *space.shape)``, floating point, B ≥ 1, or one image. The first of several axes of an image is
            the channel, the others are its pixels; the values of a vector are pixels of one channel.
        seed: seed of the order of pixels and of the random subspaces.
        input_shape: shape of one input, needed if ``space`` is a torch module.

    Raises:
        ShapeError: the images have another shape.
        ValueRangeError: there is no image, or a value is NaN or infinite.

    Examples:
        >>> import torch, blindspace as bs
        >>> network = bs.load("mnist-mlp")
        >>> found = bs.blind_energy(network, bs.data.samples("mnist").tensor()[:20])
        >>> bool(found.raw.mean() < found.shuffled.mean() < found.dim / 784)  # digits are where the network looks
        True
    """
    space, seed = as_space(space, input_shape), seed_of(seed)
    x = as_images(images, space.shape).double()
    if not len(x):
        raise ValueRangeError("the energy of images needs at least one image, got an empty batch")
    if not bool(x.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values; its energy is undefined")
    channels = space.shape[0] if len(space.shape) > 1 else 1
    pixels = x.reshape(len(x), channels, -1)
    draw = np.random.default_rng(seed)
    order = draw.permuted(np.tile(np.arange(pixels.shape[2]), (len(x), 1)), axis=1)
    shuffled = pixels.gather(2, torch.from_numpy(order)[:, None].expand_as(pixels).to(x.device))
    return Energies(
        shape=space.shape,
        dim=space.dim,
        raw=_energy(space, pixels),
        centred=_energy(space, _centred(pixels)),
        shuffled=_energy(space, shuffled),
        shuffled_centred=_energy(space, _centred(shuffled)),
        random=_in_random_subspaces(space, pixels, draw),
        seed=seed,
    )


def _energy(space: Subspace, pixels: Tensor) -> Tensor:
    """Share of energy of each image of ``(B, channels, pixels)``, ``(B,)`` on the CPU."""
    images = pixels.reshape(-1, *space.shape)
    some = max(CHUNK_BYTES // (8 * space.ambient_dim), 1)
    return torch.cat([space.energy(part) for part in images.split(some)]).cpu()


def _centred(pixels: Tensor) -> Tensor:
    """The pixels minus the mean of each channel; exactly 0 where only rounding errors are left."""
    left = pixels - pixels.mean(2, keepdim=True)
    rounding = ROUNDED * pixels.abs().amax((1, 2), keepdim=True)
    return torch.where(left.abs().amax((1, 2), keepdim=True) > rounding, left, 0.0)


def _in_random_subspaces(space: Subspace, pixels: Tensor, draw: np.random.Generator) -> Tensor:
    """Shares of energy in uniformly distributed subspaces, which follow a Beta distribution for any image."""
    d, n = space.dim, space.ambient_dim
    share = draw.beta(d / 2, (n - d) / 2, len(pixels)) if 0 < d < n else np.full(len(pixels), float(d == n))
    return torch.from_numpy(share * pixels.flatten(1).any(1).cpu().numpy())
