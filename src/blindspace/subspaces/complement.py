"""The orthogonal complement of a subspace, and the map that a projector is."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..maps import LinearMap
from .subspace import Subspace


class Complement(Subspace):
    """Everything orthogonal to a subspace: the row space where that is a nullspace.

    Args:
        of: the subspace.
    """

    def __init__(self, of: Subspace) -> None:
        self.of = of
        self.shape = of.shape
        self.solver, self.reason = of.solver, of.reason
        # The projector's singular values are 1 and 0; its rank is the dimension it keeps.
        exact = of.certificate.exact_rank
        exact = None if exact is None else self.ambient_dim - exact
        self.certificate = replace(of.certificate, rank=of.dim, exact_rank=exact)

    @property
    def dim(self) -> int:
        """n less the dimension of the subspace."""
        return self.ambient_dim - self.of.dim

    def _project(self, v: Tensor) -> Tensor:
        return v - self.of._project(v)

    def annihilator(self) -> LinearMap:
        """The projector onto the subspace."""
        return ProjectorMap(self.of)

    @property
    def complement(self) -> Subspace:
        """The subspace itself."""
        return self.of


class ProjectorMap(LinearMap):
    """P of a subspace as a linear map; P = Pᵀ.

    Args:
        subspace: onto which.
    """

    def __init__(self, subspace: Subspace) -> None:
        super().__init__(subspace.shape, subspace.shape)
        self.subspace = subspace
        self._norm = 1.0 if subspace.dim else 0.0

    def _forward(self, x: Tensor) -> Tensor:
        return self.subspace._project(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.subspace._project(y)
