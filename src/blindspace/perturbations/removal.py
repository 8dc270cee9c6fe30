"""Keyed noise taken off images, and how it is known that it was in them.

A wrong key, salt, name, network or size gives other noise, which would be added instead of taken off. The direction of
a key's noise is uniformly distributed in the harmless subspace and independent of every image that it was not added to,
so that √dim times the cosine of both is about standard normal, and (1 + cosine) / 2 follows exactly a symmetric Beta
distribution (Muirhead, Aspects of multivariate statistical theory, 1982, theorem 1.5.7), whatever filter the image has
passed through before. So an image with the noise agrees with its direction, and one from which it was taken off rightly
does not, neither way. Both are tests at the level ``RISK`` per image, made after a filter that leaves little but noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod

import torch
import torch.nn.functional as F
from scipy.special import betainc
from torch import Tensor

from ..errors import ShapeError
from ..networks.arguments import Space, as_images, as_space
from ..subspaces._mask_argument import MaskLike
from ..subspaces.box import Norm
from ._keyed import Key, keyed

RISK = 1e-6
"""Probability of a wrong verdict by chance, per test and image."""

ROUNDED = 1e-5
"""Error of stored noise, as a share of it, that is not held against a removal: float32 keeps about 1e-7."""

GRIDS = ((255, 0.02), (65535, 0.05))
"""Levels of the originals' files, and the distance from a level, in levels, that counts as none."""


class Fit(StrEnum):
    """Whether the noise that was taken off an image had been in it."""

    fits = "fits"
    other = "does not fit"
    unknown = "cannot be checked"


@dataclass(frozen=True)
class Removal:
    """Images without the noise of a key.

    Attributes:
        images: Float64 ``(B, *shape)``; of use only where ``fits`` says so.
        fits: One verdict per image. It is ``cannot be checked`` where the noise is too small beside the harmless
            component of the image, or that subspace too small, to distinguish both cases.
    """

    images: Tensor
    fits: tuple[Fit, ...]


def remove_keyed(
    space: Space,
    key: Key,
    contexts: Sequence[str],
    images: Tensor,
    size: float,
    norm: Norm = "linf",
    *,
    input_shape: Sequence[int] | None = None,
    mask: MaskLike | None = None,
) -> Removal:
    """Take the noise off that ``keyed`` added, and check for each image that it was there.

    An image fits if without the noise all its values are levels of 8 or 16 bits, as in pictures; or if its harmless
    component agreed with the noise before and no longer does (see this module). A size that is wrong by a few per cent
    may fit, and so may, in about one image of 200, the noise of a network that reads a part of what the right one does.

    Args:
        space: As for ``keyed``; the other arguments too.
        key: The secret key.
        contexts: One context per image.
        images: The images with the noise, ``(B, *shape)``.
        size: Size of the noise of each image, in units of the image range.
        norm: Norm of that size.
        input_shape: Shape of one input of a module.
        mask: The mask that the noise was confined to.

    Raises:
        ShapeError: The images have another shape, or there is not one context per image.
        ValueRangeError, MissingExtraError, BlindspaceError: As for ``keyed``.
    """
    space = as_space(space, input_shape, mask=mask)
    x = as_images(images, space.shape).double()
    noise = keyed(space, key, contexts, size, norm).to(x.device)
    if len(x) != len(noise):
        raise ShapeError(f"there must be one name per image, got {len(noise)} for {len(x)} images")
    left = x - noise
    drawn = torch.stack([key.gaussian(context, space.shape) for context in contexts]).to(x) if len(x) else x
    extent = ROUNDED * noise.flatten(1).norm(dim=1)
    sharp = _whitened(left)
    known = _agreement(space.project(_whitened(x)), noise, space.dim) > 0
    remains = _agreement(space.project(sharp), noise, space.dim, extent) != 0
    # Noise of a larger subspace shows outside this one too.
    remains |= _agreement(space.reject(sharp), space.reject(drawn), prod(space.shape) - space.dim, extent) != 0
    exact = _on_a_grid(left, space.dim) & ~_on_a_grid(x, space.dim)
    verdicts = zip(exact.tolist(), remains.tolist(), known.tolist(), strict=True)
    return Removal(left, tuple(_verdict(*verdict) for verdict in verdicts))


def _verdict(exact: bool, remains: bool, known: bool) -> Fit:
    if exact:
        return Fit.fits
    if remains:
        return Fit.other
    return Fit.fits if known else Fit.unknown


def _agreement(images: Tensor, directions: Tensor, dim: int, rounding: Tensor | None = None) -> Tensor:
    """The sign of each cosine that no chance explains in ``dim`` dimensions, and 0 for the others, ``(B,)``."""
    image, direction = images.flatten(1), directions.flatten(1)
    inner = (image * direction).sum(1)
    length = direction.norm(dim=1)
    tiny = torch.finfo(torch.float64).tiny
    cosine = (inner / (image.norm(dim=1) * length).clamp(min=tiny)).clamp(-1, 1)
    if dim < 2:
        return torch.zeros_like(cosine)
    chance = torch.from_numpy(betainc((dim - 1) / 2, 0.5, (1 - cosine.square()).cpu().numpy())).to(cosine)
    found = chance < 2 * RISK
    if rounding is not None:
        found &= inner.abs() > rounding * length
    signs: Tensor = cosine.sign() * found
    return signs


def _whitened(images: Tensor) -> Tensor:
    """The pixels of images minus the mean of their four neighbours, which leaves little but noise."""
    if images.ndim != 4 or min(images.shape[2:]) < 2:
        return images
    around = F.pad(images, (1, 1, 1, 1), mode="replicate")
    neighbours = around[..., 1:-1, :-2] + around[..., 1:-1, 2:] + around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
    return images - neighbours / 4


def _on_a_grid(images: Tensor, dim: int) -> Tensor:
    """Whether all values of an image are levels of 8 or 16 bits, as by chance they would not be, bool ``(B,)``."""
    found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for levels, near in GRIDS:
        scaled = images.flatten(1) * levels
        if (2 * near) ** dim < RISK:
            found |= ((scaled - scaled.round()).abs() <= near).all(1)
    return found
