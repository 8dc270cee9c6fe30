"""Principal component analysis (Pearson 1901; Jolliffe 2002): the directions along which a set of images varies.

Pixels of one value in all images are set apart, so that components of least variance are told from those of none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError

WHOLE = 4096
"""Largest number of values of an image for which all components are computed whatever the number of images."""

BLOCK = 2**24
"""Values whose float64 copies are in memory at once."""


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of images, in descending order of their variance.

    Attributes:
        mean: Mean image, float64 ``(*shape)``.
        components: Orthonormal components, float64 ``(m, *shape)``; m is n, a basis of the whole space, or
            the number of images if that is smaller and n is above ``WHOLE``.
        variances: Variance of the images along each, float64 ``(m,)``, descending.
        varying: Number of pixel values that are not the same in all images; the components beyond are single pixels.
    """

    mean: Tensor
    components: Tensor
    variances: Tensor
    varying: int

    @classmethod
    def of(cls, images: Tensor) -> Self:
        """Compute them in float64.

        Args:
            images: Floating point ``(N, *shape)``, N ≥ 2.

        Raises:
            ShapeError: ``images`` is not a floating-point batch.
            ValueRangeError: There are fewer than two images, or a value is NaN or infinite.
        """
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim < 2:
            raise ShapeError("principal components need a floating-point tensor of images (N, *shape)")
        if len(images) < 2 or not bool(images.isfinite().all()):
            raise ValueRangeError(f"principal components need at least 2 images of finite values, got {len(images)}")
        flat = images.detach().flatten(1)
        count, n = flat.shape
        changing = (flat != flat[0]).any(0)
        where, constant = changing.nonzero()[:, 0], (~changing).nonzero()[:, 0]
        mean = torch.stack([some.double().sum(0) for some in _blocks(flat)]).sum(0) / count
        if n > WHOLE and count < n:
            centred = flat.double() - mean
            values, vectors = torch.linalg.eigh(centred @ centred.T)
            # By QR, because directions of no variance have no images to be made of.
            components = torch.linalg.qr(centred.T @ vectors.flip(1)).Q.T
            spread = values.flip(0)
        else:
            covariance = flat.new_zeros(len(where), len(where), dtype=torch.float64)
            for some in _blocks(flat[:, where]):
                centred = some.double() - mean[where]
                covariance += centred.T @ centred
            values, vectors = torch.linalg.eigh(covariance)
            components, spread = mean.new_zeros(n, n), mean.new_zeros(n)
            components[: len(where), where] = vectors.T.flip(0)
            components[torch.arange(len(where), n, device=flat.device), constant] = 1
            spread[: len(where)] = values.flip(0)
        # The largest entry of each component is positive, so that its sign does not depend on the processor.
        components = components * components.gather(1, components.abs().argmax(1, keepdim=True)).sign()
        shape = images.shape[1:]
        variances = spread.clamp(min=0) / (count - 1)
        return cls(mean.view(shape), components.reshape(-1, *shape), variances, min(len(where), len(components)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.mean.shape)

    @cached_property
    def rank(self) -> int:
        """Number of components along which the images vary by more than rounding."""
        if not len(self.variances) or not float(self.variances[0]):
            return 0
        rounding = self.mean.numel() * torch.finfo(torch.float64).eps * self.variances[0]
        return int((self.variances[: self.varying] > rounding).sum())

    def error(self, images: Tensor, dim: int) -> float:
        """Mean squared error per value of the projections of images ``(N, *shape)`` on the first ``dim`` components."""
        rows, total = self.components[:dim].flatten(1), 0.0
        for some in _blocks(images.flatten(1)):
            x = some.double() - self.mean.flatten()
            total += float((x - x @ rows.T @ rows).square().sum())
        return total / max(images.numel(), 1)


def _blocks(flat: Tensor) -> tuple[Tensor, ...]:
    blocks: tuple[Tensor, ...] = flat.split(max(1, BLOCK // max(flat.shape[1], 1)))
    return blocks
