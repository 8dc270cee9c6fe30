"""All principal components of a set of images, and the subspaces that the first and the last of them span.

Known as principal component analysis; Jolliffe 2002. Pixels that have one value in all images are set apart, so that
the last components of least variance are told from those of none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import ValueRangeError, integer
from ..subspaces import Spanned
from ..subspaces._arguments import floating


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components of images, in descending order of their variance; a basis of the whole space.

    Attributes:
        mean: Mean image, float64 ``(*shape)``.
        components: Orthonormal components, float64 ``(n, *shape)``.
        variances: Variance of the images along each, float64 ``(n,)``, descending.
        varying: Number of pixel values that are not the same in all images; the components beyond are single pixels.
    """

    mean: Tensor
    components: Tensor
    variances: Tensor
    varying: int

    @cached_property
    def rank(self) -> int:
        """Number of components along which the images vary by more than rounding."""
        if not len(self.variances) or not float(self.variances[0]):
            return 0
        rounding = len(self.variances) * torch.finfo(torch.float64).eps * self.variances[0]
        return int((self.variances[: self.varying] > rounding).sum())

    def first(self, dim: int) -> Spanned:
        """The span of the components of largest variance (PCA-k).

        Args:
            dim: Dimension k, at most n.

        Raises:
            ValueRangeError: There are fewer components.
        """
        return Spanned(self.components[: self._count(dim, len(self.components))])

    def last(self, dim: int, varying: bool = False) -> Spanned:
        """The span of the components of least variance.

        Args:
            dim: Dimension k, at most n.
            varying: Whether components along which the images do not vary are left out.

        Raises:
            ValueRangeError: There are fewer such components.
        """
        end = self.rank if varying else len(self.components)
        return Spanned(self.components[end - self._count(dim, end) : end])

    def _count(self, dim: int, most: int) -> int:
        return integer(dim, "the number of principal components", 0, most)


def principal_components(images: Tensor) -> PrincipalComponents:
    """Compute all principal components of images, by the eigenvectors of their covariance in float64.

    Args:
        images: Floating point ``(N, *shape)``, N ≥ 2.

    Raises:
        ShapeError: ``images`` is no such tensor.
        ValueRangeError: There are fewer than two images, or a value is NaN or infinite.
    """
    flat = floating(images, "images", 2).detach().flatten(1)
    if len(flat) < 2 or not bool(flat.isfinite().all()):
        raise ValueRangeError(f"principal components need at least two images of finite values, got {len(flat)}")
    n = flat.shape[1]
    changing = (flat != flat[0]).any(0)
    where = changing.nonzero()[:, 0]
    mean = flat.double().mean(0)
    covariance = torch.zeros(len(where), len(where), dtype=torch.float64, device=flat.device)
    for some in flat[:, where].split(max(1, 2**24 // max(n, 1))):
        centred = some.double() - mean[where]
        covariance += centred.T @ centred
    variances, vectors = torch.linalg.eigh(covariance / (len(flat) - 1))
    components = torch.zeros(n, n, dtype=torch.float64, device=flat.device)
    components[: len(where), where] = vectors.T.flip(0)
    constant = (~changing).nonzero()[:, 0]
    components[torch.arange(len(where), n, device=flat.device), constant] = 1
    spread = torch.zeros(n, dtype=torch.float64, device=flat.device)
    spread[: len(where)] = variances.flip(0).clamp(min=0)
    shape = images.shape[1:]
    return PrincipalComponents(mean.view(shape), components.view(n, *shape), spread, len(where))
