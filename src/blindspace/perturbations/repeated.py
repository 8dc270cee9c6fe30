"""One subspace's projector, applied thousands of times to a few images."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor

from ..subspaces import Subspace

BASIS_LIMIT = 64 << 20
"""Bytes that a basis may take."""

SLOW = ("fourier", "krylov")
"""Solvers that take so long for a few images that a basis, where it is small, is soon paid for."""

_bases: WeakKeyDictionary[Subspace, Tensor] = WeakKeyDictionary()


@dataclass(frozen=True)
class Project:
    """P v, ``(B, *space.shape)`` float64 to the same.

    Attributes:
        space: onto which.
        basis: of it, ``(dim, n)``, where it is small and the solver slow.
    """

    space: Subspace
    basis: Tensor | None

    def __call__(self, v: Tensor) -> Tensor:
        """P v."""
        if self.basis is None:
            return self.space.project(v)
        rows = self.basis.to(v.device)
        return ((v.flatten(1) @ rows.T) @ rows).reshape(v.shape)


def repeated(space: Subspace) -> Project:
    """P v by the quickest way to do it often.

    Args:
        space: onto which.
    """
    return with_basis(Project(space, None)) if space.solver in SLOW else Project(space, None)


def with_basis(project: Project) -> Project:
    """The same with a basis, made once a space, where it is small."""
    space = project.space
    if project.basis is not None or 8 * space.ambient_dim * space.dim > BASIS_LIMIT:
        return project
    if space not in _bases:
        _bases[space] = space.basis().flatten(1)
    return Project(space, _bases[space])
