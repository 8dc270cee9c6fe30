"""How much of each image lies in a blind space, beside what anything else of the same kind would have there.

Natural images are far from noise: most of their energy is in their mean and in slow changes, which few layers miss. So
the share of energy of an image says little by itself, and is measured of the image and of what is left when the mean of
each channel is taken off, beside three controls: dim/n, which Gaussian noise has on average; the same pixels in another
order; and the same image in a random subspace of that dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ValueRangeError
from ..maps.linear_map import checked
from ..subspaces import Subspace

AT_ONCE = 64 << 20
"""Bytes of images projected at a time."""

ROUNDED = 8 * torch.finfo(torch.float64).eps
"""What is left of a constant image without its mean, as a share of its largest value, is rounding."""


@dataclass(frozen=True)
class Energies:
    """Shares of energy ‖P x‖² / ‖x‖² in a subspace, one an image; 0 for an image of zeros.

    Attributes:
        shape: of one image.
        dim: of the subspace.
        raw: of the images x as they are, float64 ``(B,)``.
        centred: of the images less the mean of each channel, ``(B,)``; 0 for a constant one.
        shuffled: of the images with their pixels in another order, channels together, ``(B,)``.
        shuffled_centred: of these less the mean of each channel, ``(B,)``.
        random: of the images in a random subspace of the same dimension, for each image another, ``(B,)``.
        seed: of the order of pixels and of the random subspaces.
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
        """dim/n: the share of Gaussian noise, and of anything in a random subspace, on average."""
        return self.dim / prod(self.shape)

    @property
    def noise_deviation(self) -> float:
        """Standard deviation of that share."""
        return sqrt(2 * self.noise * (1 - self.noise) / (prod(self.shape) + 2))

    def shares(self) -> dict[str, Tensor]:
        """All that was measured, by name."""
        names = ("raw", "centred", "shuffled", "shuffled_centred", "random")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean, median, least and largest share over the images, of each kind."""
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
        """As plain values for JSON."""
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


def blind_energy(space: Subspace, images: Tensor, seed: int = 0) -> Energies:
    """The share of each image's energy that lies in a subspace, beside its controls.

    Args:
        space: such as the nullspace of a network's front.
        images: ``(B, *space.shape)``, floating point, B ≥ 1. The first axis of an image of more than one is that of
            channels, the others are its pixels; the values of a vector are pixels of one channel.
        seed: of the order of pixels and of the random subspaces.

    Raises:
        ShapeError: the images are of another shape.
        ValueRangeError: there is no image, or a value is NaN or infinite.
    """
    x = checked(images, space.shape, "images").double()
    if not len(x):
        raise ValueRangeError("the energy of images needs at least one image, got a batch of none")
    if not bool(x.isfinite().all()):
        raise ValueRangeError("an image holds NaN or infinite values; its energy is no number")
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
    """Shares of ``(B, channels, pixels)``, ``(B,)`` on the CPU."""
    images = pixels.reshape(-1, *space.shape)
    some = max(AT_ONCE // (8 * space.ambient_dim), 1)
    return torch.cat([space.energy(part) for part in images.split(some)]).cpu()


def _centred(pixels: Tensor) -> Tensor:
    """Less the mean of each channel; exactly 0 where that leaves rounding alone."""
    left = pixels - pixels.mean(2, keepdim=True)
    rounding = ROUNDED * pixels.abs().amax((1, 2), keepdim=True)
    return torch.where(left.abs().amax((1, 2), keepdim=True) > rounding, left, 0.0)


def _in_random_subspaces(space: Subspace, pixels: Tensor, draw: np.random.Generator) -> Tensor:
    """Shares of energy in subspaces of no preferred direction: Beta distributed, whatever the image."""
    d, n = space.dim, space.ambient_dim
    share = draw.beta(d / 2, (n - d) / 2, len(pixels)) if 0 < d < n else np.full(len(pixels), float(d == n))
    return torch.from_numpy(share * pixels.flatten(1).any(1).cpu().numpy())
