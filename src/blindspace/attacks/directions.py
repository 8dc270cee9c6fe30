"""Where an attack that sees scores alone takes its directions: each image in an order of its own.

What an image is given depends on its own stream of random numbers, not on the images attacked beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..subspaces import Subspace
from .gradient import unit


class Directions(ABC):
    """Unit directions for a batch of images, one an image at a time.

    Args:
        generators: one an image.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    @abstractmethod
    def draw(self, images: Tensor) -> Tensor:
        """The next direction of each of the numbered images ``(b,)``: float32 ``(b, *shape)``, of L2 norm 1."""


class Uniform(Directions):
    """Uniformly distributed in a subspace: the projections of Gaussian noise.

    Args:
        generators: one an image.
        shape: of one image.
        subspace: all of space if None.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], shape: Sequence[int], subspace: Subspace | None = None
    ) -> None:
        super().__init__(generators)
        self.shape, self.subspace = tuple(shape), subspace

    def draw(self, images: Tensor) -> Tensor:
        """As of the base; 0 where the subspace holds nothing else."""
        noise = torch.stack([torch.randn(self.shape, generator=self.generators[i]) for i in images.tolist()])
        return unit(noise if self.subspace is None else self.subspace.project(noise), "l2")


class Orthonormal(Directions):
    """Out of an orthonormal basis, without replacement until all have been drawn (Guo et al. 2019).

    Args:
        generators: one an image.
        count: vectors of the basis.
    """

    def __init__(self, generators: Sequence[torch.Generator], count: int) -> None:
        super().__init__(generators)
        self.count = count
        self.orders = [torch.randperm(count, generator=each) for each in generators]
        self.drawn = [0] * len(generators)

    def draw(self, images: Tensor) -> Tensor:
        """As of the base."""
        return self.vectors(torch.tensor([self._next(i) for i in images.tolist()]))

    def _next(self, image: int) -> int:
        if self.drawn[image] == self.count:
            self.orders[image] = torch.randperm(self.count, generator=self.generators[image])
            self.drawn[image] = 0
        self.drawn[image] += 1
        return int(self.orders[image][self.drawn[image] - 1])

    @abstractmethod
    def vectors(self, numbers: Tensor) -> Tensor:
        """Basis vectors by their numbers ``(b,)``: ``(b, *shape)``."""


class Basis(Orthonormal):
    """The vectors of a given basis.

    Args:
        generators: one an image.
        basis: orthonormal, ``(k, *shape)``.

    Raises:
        ShapeError: there is no vector.
        ValueRangeError: they are not orthonormal.
    """

    def __init__(self, generators: Sequence[torch.Generator], basis: Tensor) -> None:
        if basis.ndim < 2 or not len(basis):
            raise ShapeError(f"directions need a basis (k, *shape), k ≥ 1, got {tuple(basis.shape)}")
        flat = basis.flatten(1).double()
        apart = float((flat @ flat.T - torch.eye(len(flat), dtype=flat.dtype)).abs().max())
        if not apart <= 1e-4:
            raise ValueRangeError(f"the basis is not orthonormal: its products are off by up to {apart:.2g}")
        super().__init__(generators, len(basis))
        self.basis = basis.float()

    def vectors(self, numbers: Tensor) -> Tensor:
        """As of the base."""
        return self.basis[numbers]


class Pixels(Orthonormal):
    """Single values of the image.

    Args:
        generators: one an image.
        shape: of one image.
    """

    def __init__(self, generators: Sequence[torch.Generator], shape: Sequence[int]) -> None:
        super().__init__(generators, prod(shape))
        self.shape = tuple(shape)

    def vectors(self, numbers: Tensor) -> Tensor:
        """As of the base."""
        return one_hot(numbers, self.shape)


class Cosines(Orthonormal):
    """Waves of the two-dimensional cosine transform in one channel each, the lowest frequencies (SimBA-DCT).

    Args:
        generators: one an image.
        shape: ``(C, H, W)`` of one image.
        count: how many of them.
    """

    def __init__(self, generators: Sequence[torch.Generator], shape: Sequence[int], count: int) -> None:
        self.shape, self.lowest = tuple(shape), by_frequency(shape)[:count]
        super().__init__(generators, len(self.lowest))

    def vectors(self, numbers: Tensor) -> Tensor:
        """As of the base."""
        return waves(one_hot(self.lowest[numbers], self.shape))


def one_hot(numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """1 at the numbered value of each image, 0 elsewhere, float32 ``(b, *shape)``."""
    found = torch.zeros(len(numbers), prod(shape))
    found[torch.arange(len(numbers)), numbers] = 1
    return found.view(-1, *shape)


def by_frequency(shape: Sequence[int]) -> Tensor:
    """Numbers of the coefficients of images ``(C, H, W)``, lowest frequency first, channels in turn; int64 ``(n,)``."""
    channels, height, width = shape
    squared = (torch.arange(height) / height).square()[:, None] + (torch.arange(width) / width).square()
    order = squared.flatten().argsort(stable=True)
    return (order[:, None] + height * width * torch.arange(channels)).flatten()


def waves(coefficients: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` of orthonormal cosine coefficients, of the same shape and dtype."""
    return torch.from_numpy(np.asarray(scipy.fft.idctn(coefficients.numpy(), axes=(2, 3), norm="ortho")))


def frequencies(images: Tensor) -> Tensor:
    """Orthonormal cosine coefficients of images ``(B, C, H, W)``, of the same shape and dtype."""
    return torch.from_numpy(np.asarray(scipy.fft.dctn(images.numpy(), axes=(2, 3), norm="ortho")))


def streams(count: int, generator: torch.Generator | None) -> list[torch.Generator]:
    """Random numbers for each of so many images, apart from one another."""
    seeds = torch.randint(2**62, (count,), generator=generator)
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
