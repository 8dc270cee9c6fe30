"""The one idea everything shares: a linear subspace that splits a perturbation in two."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..errors import ShapeError, TooLargeError
from ..maps import LinearMap, Shape
from ..maps.linear_map import DENSE_LIMIT, checked
from ..solvers import Certificate


@dataclass(frozen=True)
class Split:
    """A perturbation in two: δ = parallel + orthogonal (theorem 3).

    Attributes:
        parallel: P δ, the part inside the subspace, ``(B, *shape)``.
        orthogonal: (I − P) δ, the part orthogonal to it, ``(B, *shape)``.
        residual: how far the parallel part is from the subspace, measured; see ``Subspace.residual``.
    """

    parallel: Tensor
    orthogonal: Tensor
    residual: float


class Subspace(ABC):
    """A linear subspace of the perturbations of one shape.

    Every method takes batches ``(B, *shape)`` of any floating dtype on any device and answers in the same.

    Attributes:
        shape: of one perturbation.
        certificate: of the rank behind the dimension.
        solver: name of the algorithm that projects.
        reason: why that one, in words.
    """

    shape: Shape
    certificate: Certificate
    solver: str = "basis"
    reason: str = ""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimension of the subspace."""

    @abstractmethod
    def _project(self, v: Tensor) -> Tensor: ...

    @abstractmethod
    def annihilator(self) -> LinearMap:
        """A map whose nullspace is this subspace."""

    @property
    def ambient_dim(self) -> int:
        """Dimension of the space of all perturbations."""
        return prod(self.shape)

    def project(self, v: Tensor) -> Tensor:
        """P v, the nearest point of the subspace (theorem 3).

        Args:
            v: ``(B, *shape)``.

        Raises:
            ShapeError: v has another shape or is not floating point.
        """
        return self._project(checked(v, self.shape, "perturbation"))

    def reject(self, v: Tensor) -> Tensor:
        """(I − P) v: of all perturbations with the same effect the smallest in L2 (appendix D). As ``project``."""
        return v - self.project(v)

    def split(self, v: Tensor) -> Split:
        """Both parts at once, with the measured residual (theorem 3). As ``project``."""
        parallel = self.project(v)
        return Split(parallel, v - parallel, self._residual(parallel, v))

    def residual(self, v: Tensor) -> float:
        """How far P v is from the subspace, measured in float64: ‖A P v‖ / (‖A‖ ‖v‖), the largest over the batch.

        A is the annihilator. Rounding in v's own dtype is part of what is measured.
        """
        return self._residual(self.project(v), v)

    def _residual(self, parallel: Tensor, v: Tensor) -> float:
        a = self.annihilator()
        error = a.forward(parallel.double()).flatten(1).norm(dim=1)
        size = v.double().flatten(1).norm(dim=1) * a.norm()
        return float((error / size.clamp(min=torch.finfo(torch.float64).tiny)).max()) if len(v) else 0.0

    def energy(self, v: Tensor) -> Tensor:
        """‖P v‖² / ‖v‖² of each perturbation, in [0, 1]; ``(B,)``; 0 for a zero perturbation."""
        # Squares of half precision or of tiny float32 values leave their range.
        inside = self.project(v).double().flatten(1).square().sum(1)
        whole = v.double().flatten(1).square().sum(1)
        return torch.where(whole > 0, inside / whole, 0.0).clamp(0, 1).to(v.dtype)

    def contains(self, v: Tensor, tol: float | None = None) -> Tensor:
        """Whether each perturbation lies in the subspace: ‖A v‖ ≤ tol·‖A‖·‖v‖, as absolute values; bool ``(B,)``.

        Args:
            v: ``(B, *shape)``.
            tol: relative; √n·ε of v's dtype times 10 if None.
        """
        checked(v, self.shape, "perturbation")
        if tol is None:
            tol = 10 * self.ambient_dim**0.5 * torch.finfo(v.dtype).eps
        a = self.annihilator()
        error = a.forward(v.double()).flatten(1).norm(dim=1)
        within: Tensor = error <= tol * a.norm() * v.double().flatten(1).norm(dim=1)
        return within

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Random perturbations inside the subspace, of no preferred direction: the projections of Gaussian noise.

        Args:
            n: how many.
            generator: of the randomness.
            dtype: of the result.

        Returns:
            ``(n, *shape)``; E ‖sample‖² = dim. All zero where dim is 0.
        """
        return self._project(torch.randn(n, *self.shape, generator=generator, dtype=torch.float64)).to(dtype)

    def basis(self, limit: int = DENSE_LIMIT) -> Tensor:
        """Orthonormal basis vectors, ``(dim, *shape)``, float64.

        Args:
            limit: bytes the projector's matrix may take on the way.

        Raises:
            TooLargeError: it would take more; the message holds the figures.
        """
        n = self.ambient_dim
        if 8 * n * self.dim > limit:
            raise TooLargeError(
                f"{self.dim} basis vectors of {n} values take {8 * n * self.dim / 2**30:.1f} GiB, above the limit of "
                f"{limit / 2**30:.1f} GiB; use project and sample, which need no basis"
            )
        # Projections of random vectors span the subspace; a second pass cleans what orthonormalising brought in.
        vectors = self.sample(self.dim, torch.Generator().manual_seed(0))
        for _ in range(2 if self.dim else 0):
            q = torch.linalg.qr(vectors.flatten(1).T).Q
            vectors = self._project(q.T.reshape(self.dim, *self.shape))
        return vectors

    @property
    def complement(self) -> Subspace:
        """The orthogonal complement."""
        from .complement import Complement

        return Complement(self)

    def __and__(self, other: Subspace) -> Subspace:
        """Intersection: what lies in both."""
        from .combine import intersection

        return intersection(self, other)

    def __or__(self, other: Subspace) -> Subspace:
        """Sum: the smallest subspace that holds both."""
        from .combine import union

        return union(self, other)

    def to_dict(self) -> dict[str, Any]:
        """Dimension and certificate as plain values for JSON."""
        return {
            "shape": list(self.shape),
            "dim": self.dim,
            "ambient_dim": self.ambient_dim,
            "solver": self.solver,
            "certificate": self.certificate.to_dict(),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim {self.dim} of {self.ambient_dim}, {self.certificate.kind})"


def same_shape(a: Subspace, b: Subspace) -> None:
    """Check that two subspaces live in one space.

    Raises:
        ShapeError: they do not.
    """
    if a.shape != b.shape:
        raise ShapeError(f"subspaces of perturbations {a.shape} and {b.shape} cannot be combined: the shapes differ")
