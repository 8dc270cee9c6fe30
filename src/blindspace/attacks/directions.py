"""Search directions of score-based attacks, drawn for each image in an order of its own.

The directions of an image depend on its own stream of random numbers, not on the other images of the batch. Low
frequencies of the cosine transform are the directions of SimBA-DCT (Guo et al. 2019).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from ..errors import ShapeError, ValueRangeError
from ..subspaces import Subspace
from ..subspaces._arguments import floating, generator_or_none
from .gradient import unit


class Directions(ABC):
    """Unit directions for a batch of images, drawn one per image at a time.

    Args:
        generators: Sources of randomness, one per image.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = generators

    @abstractmethod
    def draw(self, images: Tensor) -> Tensor:
        """Draw the next direction for the images at given indices ``(b,)``: float32 ``(b, *shape)``, of L2 norm 1."""


class Uniform(Directions):
    """Directions distributed uniformly in a subspace: normalised projections of Gaussian noise.

    Args:
        generators: Sources of randomness, one per image.
        shape: Shape of one image.
        subspace: The subspace; the whole space if None.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], shape: Sequence[int], subspace: Subspace | None = None
    ) -> None:
        super().__init__(generators)
        self.shape, self.subspace = tuple(shape), subspace

    def draw(self, images: Tensor) -> Tensor:
        """Draw as ``Directions.draw`` does; zeros if the subspace is {0}."""
        noise = torch.stack([torch.randn(self.shape, generator=self.generators[i]) for i in images.tolist()])
        return unit(noise if self.subspace is None else self.subspace.at(images).project(noise), "l2")


class Orthonormal(Directions):
    """Vectors of an orthonormal basis, drawn without replacement until all have been drawn (Guo et al. 2019).

    Args:
        generators: Sources of randomness, one per image.
        count: Number of vectors of the basis.
    """

    def __init__(self, generators: Sequence[torch.Generator], count: int) -> None:
        super().__init__(generators)
        self.numbers = [_permutations(count, each) for each in generators]

    def draw(self, images: Tensor) -> Tensor:
        """Draw as ``Directions.draw`` does."""
        return self.vectors(torch.tensor([next(self.numbers[i]) for i in images.tolist()]))

    @abstractmethod
    def vectors(self, numbers: Tensor) -> Tensor:
        """Return the basis vectors at given indices ``(b,)``: ``(b, *shape)``."""


class Basis(Orthonormal):
    """Vectors of a given orthonormal basis.

    Args:
        generators: Sources of randomness, one per image.
        basis: Orthonormal vectors, ``(k, *shape)``, k ≥ 1.

    Raises:
        ShapeError: The basis is empty.
        ValueRangeError: The vectors are not orthonormal.
    """

    def __init__(self, generators: Sequence[torch.Generator], basis: Tensor) -> None:
        if not len(floating(basis, "the basis", 2)):
            raise ShapeError(f"directions need a basis (k, *shape), k ≥ 1, got {tuple(basis.shape)}")
        flat = basis.flatten(1).double()
        apart = float((flat @ flat.T - torch.eye(len(flat), dtype=flat.dtype)).abs().max())
        if not apart <= 1e-4:
            raise ValueRangeError(
                f"the basis is not orthonormal: its Gram matrix differs from the identity by up to {apart:.2g}"
            )
        super().__init__(generators, len(basis))
        self.basis = basis.float()

    def vectors(self, numbers: Tensor) -> Tensor:
        """Return the basis vectors at given indices."""
        return self.basis[numbers]


class Pixels(Orthonormal):
    """Single values of the image.

    Args:
        generators: Sources of randomness, one per image.
        shape: Shape of one image.
    """

    def __init__(self, generators: Sequence[torch.Generator], shape: Sequence[int]) -> None:
        super().__init__(generators, prod(shape))
        self.shape = tuple(shape)

    def vectors(self, numbers: Tensor) -> Tensor:
        """Return the basis vectors at given indices."""
        return one_hot(numbers, self.shape)


class Cosines(Orthonormal):
    """Basis functions of the two-dimensional cosine transform in one channel each, lowest frequencies (SimBA-DCT).

    Args:
        generators: Sources of randomness, one per image.
        shape: Shape ``(C, H, W)`` of one image.
        count: Number of basis functions.
    """

    def __init__(self, generators: Sequence[torch.Generator], shape: Sequence[int], count: int) -> None:
        self.shape, self.lowest = tuple(shape), by_frequency(shape)[:count]
        super().__init__(generators, len(self.lowest))

    def vectors(self, numbers: Tensor) -> Tensor:
        """Return the basis vectors at given indices."""
        return waves(one_hot(self.lowest[numbers], self.shape))


def _permutations(count: int, generator: torch.Generator) -> Iterator[int]:
    """Yield the elements of one random permutation of ``range(count)`` after the other."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def one_hot(numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the standard basis vectors at given flat indices ``(b,)``, float32 ``(b, *shape)``."""
    return torch.zeros(len(numbers), prod(shape)).scatter_(1, numbers[:, None], 1).view(-1, *shape)


def by_frequency(shape: Sequence[int]) -> Tensor:
    """Flat indices of the DCT coefficients of images ``(C, H, W)``, lowest frequency first, int64 ``(n,)``."""
    channels, height, width = shape
    squared = (torch.arange(height) / height).square()[:, None] + (torch.arange(width) / width).square()
    order = squared.flatten().argsort(stable=True)
    return (order[:, None] + height * width * torch.arange(channels)).flatten()


def waves(coefficients: Tensor) -> Tensor:
    """Inverse orthonormal DCT: coefficients ``(B, C, H, W)`` to images of the same shape and dtype."""
    return torch.from_numpy(np.asarray(scipy.fft.idctn(coefficients.numpy(), axes=(2, 3), norm="ortho")))


def frequencies(images: Tensor) -> Tensor:
    """Orthonormal DCT: images ``(B, C, H, W)`` to coefficients of the same shape and dtype."""
    return torch.from_numpy(np.asarray(scipy.fft.dctn(images.numpy(), axes=(2, 3), norm="ortho")))


def streams(count: int, generator: torch.Generator | None) -> list[torch.Generator]:
    """Split one generator into ``count`` independent ones, one per image."""
    seeds = torch.randint(2**62, (count,), generator=generator_or_none(generator))
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
