"""Tangent spaces: one linear subspace per image, here by an orthonormal basis each.

A manifold of images has another tangent space at every point, so that these subspaces are tied to a batch of images:
what is projected has one perturbation per image. The basis is the range of a decoder's Jacobian, a few principal
components, or whatever else spans a subspace at each image (Shamir, Melamed & BenShmuel 2021, section 3).
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Self

import torch
from torch import Tensor

from ..errors import BlindspaceError, ShapeError, ValueRangeError, integer, real, require_memory
from ..maps import LinearMap, Operator, Shape
from ..maps.linear_map import DENSE_LIMIT
from ..solvers import Certificate
from ._arguments import as_dtype, described, floating, generator_or_none
from ._mask import Mask
from .subspace import Complement, ProjectorMap, Subspace, span

CLEAR = 10.0
"""Factor by which the smallest singular value counted must exceed the tolerance for the rank to be clear."""


class PerImage(Subspace):
    """Linear subspaces of perturbations, one per image of a batch.

    Every method takes one perturbation per image, ``(B, *shape)``; what ``Subspace`` says of one subspace holds for
    each. A multiple of B is taken as several batches after one another.

    Attributes:
        points: The images that the subspaces belong to, ``(B, *shape)``.
        ranks: Dimension of each image's subspace, int64 ``(B,)``.
    """

    per_image = True
    points: Tensor
    ranks: Tensor

    @property
    def dim(self) -> int:
        """The largest dimension of any image's subspace; ``ranks`` has that of each."""
        return int(self.ranks.max()) if len(self.ranks) else 0

    @abstractmethod
    def at(self, images: Tensor) -> Self:
        """The subspaces of the images at given indices, int64 ``(b,)`` or bool ``(B,)``, in that order."""

    def annihilator(self) -> LinearMap:
        """The projectors onto the orthogonal complements."""
        return ProjectorMap(self.complement)

    @torch.no_grad()
    def _residual(self, parallel: Tensor, v: Tensor) -> float:
        """As ``Subspace.residual``; the annihilators have norm 1, also where an image's subspace is the whole space."""
        (parallel, _), (v, _) = self._batch(parallel), self._batch(v)
        error = (parallel - self._project(parallel)).double().flatten(1).norm(dim=1)
        size = v.double().flatten(1).norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
        return float((error / size).max()) if len(v) else 0.0

    def linear_map(self) -> LinearMap:
        """Refused: there is one subspace per image, and so no single linear map."""
        raise BlindspaceError(
            f"there is one subspace per image ({len(self.points)}), which no single linear map stands for; take that "
            "of one image, as tangents[0]"
        )

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw isotropic random perturbations, n of each image's subspace, one batch after another.

        Args:
            n: Number of samples per image, at least 0.
            generator: Source of the randomness; torch's global generator if None.
            dtype: Floating dtype of the result.

        Returns:
            ``(n·B, *shape)``; E ‖sample‖² is the dimension of the image's subspace.

        Raises:
            ValueRangeError: n is not an integer of at least 0.
            BlindspaceError: ``generator`` or ``dtype`` has the wrong type.
        """
        n, generator, dtype = integer(n, "the number of samples", 0), generator_or_none(generator), as_dtype(dtype)
        source = generator.device if generator else torch.device("cpu")
        noise = torch.randn(n * len(self.points), *self.shape, generator=generator, dtype=torch.float64, device=source)
        return self._project(noise.to(self.device)).to(dtype) if len(noise) else noise.to(dtype)

    def _within(self, inside: Tensor) -> Subspace:
        return ConfinedSpaces(self & Mask(inside), inside)

    def _batch(self, v: Tensor) -> tuple[Tensor, bool]:
        batch, single = super()._batch(v)
        count = len(self.points)
        if len(batch) != count and (count == 0 or len(batch) % count or not len(batch)):
            raise ShapeError(
                f"these are the tangent spaces of {count} images, one perturbation each; got {len(batch)} perturbations"
            )
        return batch, single


class TangentSpaces(PerImage):
    """Tangent spaces of a manifold of images, one per image.

    Attributes:
        condition: σ_k / σ_1 of the tangent vectors at each image, in [0, 1], ``(B,)``; k is the number of them. Below
            the tolerance of the rank the image's tangent space has fewer than k dimensions.

    Examples:
        >>> import torch, blindspace as bs
        >>> x = bs.data.samples("mnist").tensor()[:4]
        >>> tangents = bs.manifold("mnist-autoencoder").tangent(x)
        >>> tangents.dim, tangents.complement.dim
        (16, 768)
        >>> tangents.project(torch.randn_like(x)).shape
        torch.Size([4, 1, 28, 28])
    """

    condition: Tensor

    @abstractmethod
    def bases(self, limit: float = DENSE_LIMIT) -> Tensor:
        """Orthonormal bases, float64 ``(B, k, *shape)``; rows beyond an image's rank are 0. As ``Subspace.basis``."""

    def basis(self, limit: float = DENSE_LIMIT) -> Tensor:
        """Orthonormal bases, float64 ``(B, k, *shape)``; rows beyond an image's rank are 0.

        Args:
            limit: Largest size of the bases in bytes.

        Raises:
            TooLargeError: The bases are larger; the message holds the figures.
        """
        n, count = self.ambient_dim, len(self.points)
        what = f"{count} bases of {self.dim} vectors of {n} values"
        limit = real(limit, "the limit in bytes")
        require_memory(what, 8 * n * self.dim * count, limit, "use project, which needs no basis")
        return self.bases(limit)

    @property
    def complement(self) -> Subspace:
        """The normal spaces: the orthogonal complement of each image's tangent space."""
        return NormalSpaces(self)

    def __getitem__(self, image: int) -> Subspace:
        """The tangent space of one image as an ordinary subspace.

        Raises:
            ValueRangeError: There is no such image.
        """
        if not isinstance(image, int) or not -len(self.points) <= image < len(self.points):
            raise ValueRangeError(f"there are tangent spaces of {len(self.points)} images; got the index {image!r}")
        index = torch.tensor([image % len(self.points)], device=self.points.device)
        return span(self.at(index).basis()[0])

    def __len__(self) -> int:
        return len(self.points)

    def __and__(self, other: Subspace | Operator) -> TangentSpaces:
        """Intersect each image's tangent space with another subspace, or with its subspace if there is one per image.

        The principal angles between two subspaces are the singular values of one basis rejected by the other (Björck &
        Golub 1973); the intersection belongs to those that are 0.
        """
        other = self._in_same_space(other)
        rejected, bases = _rejected(self, other)
        _, sines, right = torch.linalg.svd(rejected.transpose(1, 2), full_matrices=False)
        inside = sines <= 10 * self.ambient_dim**0.5 * torch.finfo(torch.float64).eps
        # Rows of 0 beyond an image's rank are in every subspace, and are left out.
        inside &= (right @ bases).norm(dim=2) > 0.5
        vectors = torch.where(inside[:, :, None], right @ bases, 0.0)
        order = inside.long().argsort(dim=1, descending=True, stable=True)
        ranks = inside.sum(1)
        vectors = vectors.gather(1, order[:, :, None].expand_as(vectors))[:, : int(ranks.max()) if len(ranks) else 0]
        return TangentBases(vectors.unflatten(2, self.shape), self.points, ranks, torch.ones(len(ranks)))

    def __add__(self, other: Subspace | Operator) -> Subspace:
        """Form the subspace sum of each image's tangent space and another subspace."""
        other = self._in_same_space(other)
        rejected, _ = _rejected(self, other)
        rest = tangent_spaces(rejected.unflatten(2, self.shape), self.points, reference=1.0)
        return OrthogonalSum(other, rest)

    __or__ = __add__


def _rejected(tangents: TangentSpaces, other: Subspace) -> tuple[Tensor, Tensor]:
    """The bases of tangent spaces after the projection on another subspace's complement, and before, ``(B, k, n)``."""
    bases = tangents.basis()
    count, k = bases.shape[:2]
    by_vector = bases.transpose(0, 1).flatten(0, 1)  # one batch of images after another
    rejected = other.reject(by_vector) if len(by_vector) else by_vector
    return rejected.reshape(k, count, other.ambient_dim).transpose(0, 1), bases.flatten(2)


class TangentBases(TangentSpaces):
    """Tangent spaces by an orthonormal basis per image, or by one that all images share.

    Args:
        basis: Orthonormal, floating point ``(B, k, *shape)``, or ``(1, k, *shape)`` for all images; rows beyond an
            image's rank are 0.
        points: The images, ``(B, *shape)``.
        ranks: Dimension of each image's tangent space, int64 ``(B,)``; k for all if None.
        condition: σ_k / σ_1 of the vectors that the bases were made of, ``(B,)``; 1 for all if None.
        certificate: Certificate of the rank; one for bases that are orthonormal as given if None.
    """

    solver = "basis"
    reason = "an orthonormal basis per image"

    def __init__(
        self,
        basis: Tensor,
        points: Tensor,
        ranks: Tensor | None = None,
        condition: Tensor | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.shape: Shape = tuple(basis.shape[2:])
        if basis.ndim < 3 or tuple(points.shape[1:]) != self.shape or len(basis) not in (1, len(points)):
            raise ShapeError(
                f"bases {tuple(basis.shape)} do not fit images {tuple(points.shape)}: (B, k, *shape) and (B, *shape)"
            )
        count, k = len(points), basis.shape[1]
        self._basis, self.points = basis.double(), points
        self.device = basis.device
        self.ranks = (torch.full((count,), k) if ranks is None else ranks).to(basis.device)
        condition = torch.ones(count) if condition is None else condition
        self.condition = condition.to(basis.device, torch.float64)
        self.certificate = certificate or Certificate(
            self.ambient_dim - self.dim, "numerical", "orthonormal bases", 0.0, 1.0, 1.0, None
        )

    @cached_property
    def _single(self) -> Tensor:
        """The bases in float32, for perturbations of that or a lower precision."""
        return self._basis.float()

    def _project(self, v: Tensor) -> Tensor:
        if not len(v):
            return v
        basis = (self._basis if v.dtype == torch.float64 else self._single).flatten(2)
        flat = v.to(basis.dtype).flatten(1)
        if len(basis) == 1:
            found = flat @ basis[0].T @ basis[0]
        else:
            images = flat.view(-1, len(basis), flat.shape[1]).permute(1, 2, 0)  # (B, n, batches)
            found = (basis.mT @ (basis @ images)).permute(2, 0, 1).reshape(flat.shape)
        return found.to(v.dtype).view(v.shape)

    def bases(self, limit: float = DENSE_LIMIT) -> Tensor:
        """As ``TangentSpaces.bases``."""
        return self._basis.expand(len(self.points), *self._basis.shape[1:])

    def at(self, images: Tensor) -> Self:
        """As ``PerImage.at``."""
        chosen = copy.copy(self)
        chosen.__dict__.pop("_single", None)
        if len(self._basis) == len(self.points):
            chosen._basis = self._basis[images]
        chosen.points, chosen.ranks, chosen.condition = self.points[images], self.ranks[images], self.condition[images]
        return chosen

    def to(self, device: torch.device | str) -> Self:
        """As ``Subspace.to``."""
        moved = super().to(device)
        moved.__dict__.pop("_single", None)
        moved._basis, moved.points = self._basis.to(moved.device), self.points.to(moved.device)
        return moved


class NormalSpaces(PerImage, Complement):
    """The orthogonal complements of the subspaces of images.

    Args:
        of: The subspaces.
    """

    def __init__(self, of: PerImage) -> None:
        self.of: PerImage = of
        self.shape, self.device, self.points = of.shape, of.device, of.points
        self.solver, self.reason = of.solver, of.reason
        self.ranks = self.ambient_dim - of.ranks
        self.certificate = replace(of.certificate, rank=self.ambient_dim - self.dim)

    def at(self, images: Tensor) -> Self:
        """As ``PerImage.at``."""
        return type(self)(self.of.at(images))

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """Intersect with another subspace: U ∩ T⊥ = (U⊥ + T)⊥."""
        return (self.of + self._in_same_space(other).complement).complement

    def __add__(self, other: Subspace | Operator) -> Subspace:
        """Form the subspace sum with another subspace: U + T⊥ = (U⊥ ∩ T)⊥."""
        return (self.of & self._in_same_space(other).complement).complement

    __or__ = __add__


class OrthogonalSum(PerImage):
    """The sum of a subspace and of one subspace per image that is orthogonal to it.

    Args:
        first: The subspace, or one per image.
        second: One subspace per image, orthogonal to the first.
    """

    def __init__(self, first: Subspace, second: TangentSpaces) -> None:
        self.first, self.second = first, second
        self.shape, self.points, self.device = second.shape, second.points, second.device
        first_ranks = first.ranks if isinstance(first, PerImage) else torch.full_like(second.ranks, first.dim)
        self.ranks = first_ranks + second.ranks
        self.solver, self.reason = second.solver, "the sum of a subspace and of what it lacks of another"
        self.certificate = replace(second.certificate, rank=self.ambient_dim - self.dim)

    def _project(self, v: Tensor) -> Tensor:
        return self.first._project(v) + self.second._project(v)

    def at(self, images: Tensor) -> Self:
        """As ``PerImage.at``."""
        return type(self)(self.first.at(images), self.second.at(images))

    @property
    def complement(self) -> Subspace:
        """The orthogonal complement of each image's subspace."""
        return NormalSpaces(self)

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """Intersect with tangent spaces, the bases of which are at hand.

        Raises:
            BlindspaceError: The other subspace has no bases.
        """
        if isinstance(other, TangentSpaces):
            return other & self
        raise BlindspaceError("a sum of subspaces can be intersected with tangent spaces only; form the sum last")

    def __add__(self, other: Subspace | Operator) -> Subspace:
        """Form the subspace sum with another subspace."""
        return self.second + (self.first + other)

    __or__ = __add__


class ConfinedSpaces(PerImage):
    """Subspaces of images whose perturbations are 0 outside a mask, exactly rather than to rounding.

    Args:
        of: One subspace per image, confined to the mask to rounding.
        inside: Whether each value may differ from 0, bool ``of.shape``.
    """

    def __init__(self, of: Subspace, inside: Tensor) -> None:
        assert isinstance(of, PerImage)
        self.of: PerImage = of
        self.shape, self.points, self.ranks, self.device = of.shape, of.points, of.ranks, of.device
        self.support: Tensor = inside
        self.solver, self.reason, self.certificate = of.solver, of.reason, of.certificate

    def _project(self, v: Tensor) -> Tensor:
        inside = self.support.to(v.device)
        return torch.where(inside, self.of._project(torch.where(inside, v, 0.0)), 0.0)

    def at(self, images: Tensor) -> Self:
        """As ``PerImage.at``."""
        return type(self)(self.of.at(images), self.support)

    @property
    def complement(self) -> Subspace:
        """The orthogonal complement of each image's subspace."""
        return NormalSpaces(self)

    def __and__(self, other: Subspace | Operator) -> Subspace:
        """Intersect with another subspace; the result is confined to the mask too."""
        return (self.of & self._in_same_space(other)).within(self.support)


def tangent_spaces(
    vectors: Tensor, points: Tensor, tolerance: float | None = None, reference: float | None = None
) -> TangentBases:
    """Orthonormalise tangent vectors at images, which may be linearly dependent.

    The basis is in the order of their singular values. A QR factorisation alone would hide a deficient rank.

    Args:
        vectors: Tangent vectors, floating point ``(B, k, *shape)``.
        points: The images that they belong to, ``(B, *shape)``.
        tolerance: Singular values up to this share of the largest one count as 0; 10 √n ε with the machine epsilon of
            the vectors' dtype if None.
        reference: The size that the tolerance is a share of, in place of each image's largest singular value.

    Raises:
        ShapeError: The shapes do not fit, or there is no vector.
        ValueRangeError: A value is NaN or infinite.
    """
    floating(vectors, "tangent vectors", 3)
    if tuple(vectors.shape[2:]) != tuple(points.shape[1:]) or len(vectors) != len(points) or not vectors.shape[1]:
        raise ShapeError(
            f"tangent vectors must be (B, k, *shape) for images (B, *shape), got {described(vectors)} for images "
            f"{tuple(points.shape)}"
        )
    if not bool(vectors.isfinite().all()):
        raise ValueRangeError("a tangent vector holds NaN or infinite values; the decoder overflows at these images")
    shape, eps = vectors.shape[2:], torch.finfo(vectors.dtype).eps
    share = 10 * prod(shape) ** 0.5 * eps if tolerance is None else real(tolerance, "tolerance")
    basis, sigma = _orthonormal(vectors.double().flatten(2))
    largest = sigma[:, :1] if reference is None else torch.full_like(sigma[:, :1], reference)
    counted = sigma > share * largest
    ranks = counted.sum(1)
    basis = torch.where(counted[:, :, None], basis, 0.0)[:, : int(ranks.max()) if len(ranks) else 0]
    relative = sigma / largest.clamp(min=torch.finfo(torch.float64).tiny)
    above = relative.masked_fill(~counted, torch.inf)
    below = relative.masked_fill(counted, -torch.inf)
    least = float(above.min()) if bool(counted.any()) else None
    most = float(below.max()) if not bool(counted.all()) else None
    n = prod(shape)
    certificate = Certificate(
        n - basis.shape[1],
        "undecided" if least is not None and least < CLEAR * share else "numerical",
        "the singular values of the tangent vectors at each image, as shares of the largest",
        share,
        1.0,
        least,
        most,
    )
    condition = relative[:, -1] if len(relative) else relative.flatten()
    return TangentBases(basis.unflatten(2, shape), points, ranks, condition, certificate)


EASY = 1e-5
"""Least σ_k / σ_1 for which products of the vectors with one another suffice: their error is ε (σ_1 / σ_k)²."""


def _orthonormal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows ``(B, r, n)`` in the order of the singular values of given ones ``(B, k, n)``, and those values.

    The eigenvectors of the Gram matrix give both, and one Newton-Schulz step (Björck & Bowie 1971) removes the error of
    a basis that is orthonormal to √ε already. That takes a third of the time of a QR factorisation, which serves where
    the vectors are nearly dependent: the singular vectors of its factor R turn Q into the basis.
    """
    count, k, n = rows.shape
    if k <= n and count:
        values, vectors = torch.linalg.eigh(rows @ rows.mT)
        sigma = values.flip(1).clamp(min=0).sqrt()
        easy = sigma[:, -1] > EASY * sigma[:, 0]
        if bool(easy.all()):
            basis = (vectors.flip(2) / sigma[:, None]).mT @ rows
            gram = basis @ basis.mT
            return (1.5 * torch.eye(k, dtype=rows.dtype, device=rows.device) - gram / 2) @ basis, sigma
        if bool(easy.any()):
            parts = [_orthonormal(rows[easy]), _orthonormal(rows[~easy])]
            order = torch.cat([easy.nonzero(), (~easy).nonzero()])[:, 0].argsort()
            basis, sigma = (torch.cat(each)[order] for each in zip(*parts, strict=True))
            return basis, sigma
    q, r = torch.linalg.qr(rows.mT)
    left, sigma, _ = torch.linalg.svd(r, full_matrices=False)
    return (q @ left).mT, sigma
