"""The nullspace of a map: changes its output cannot show. Definition 1, theorem 1."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from ..errors import BlindspaceWarning, ShapeError
from ..maps import LinearMap, Shape, from_module
from ..solvers import Solver, choose
from .subspace import Subspace


class Nullspace(Subspace):
    """N(A) = {v : A v = 0}.

    Args:
        operator: A.
        solver: applies the projector: one made before, or the name of one; chosen by structure and size if None.
    """

    def __init__(self, operator: LinearMap, solver: Solver | str | None = None) -> None:
        self.operator = operator
        self._solver = solver if isinstance(solver, Solver) else choose(operator, solver)
        self.shape = operator.in_shape
        self.certificate = self._solver.certificate
        self.solver = self._solver.name
        self.reason = self._solver.reason
        if self.certificate.kind == "undecided":
            warnings.warn(
                f"the rank of {operator} is undecided: {self.certificate}; directions near the gap are harmless to "
                "rounding only",
                BlindspaceWarning,
                stacklevel=3,
            )

    @property
    def dim(self) -> int:
        """n − rank(A) (theorem 1)."""
        return self.ambient_dim - self.certificate.rank

    def _project(self, v: Tensor) -> Tensor:
        return self._solver.project(v)

    def annihilator(self) -> LinearMap:
        """A itself."""
        return self.operator


def as_map(layer: LinearMap | nn.Module, in_shape: tuple[int, ...] | None) -> LinearMap:
    """A layer as a map: a map as it is, a module at its input shape.

    Raises:
        ShapeError: a module without an input shape.
        UnsupportedLayerError: a module that is not affine.
    """
    if isinstance(layer, LinearMap):
        return layer
    if in_shape is None:
        raise ShapeError(f"a {type(layer).__name__} needs the shape of its input, as in nullspace(layer, (3, 32, 32))")
    return from_module(layer, in_shape)


def nullspace(layer: LinearMap | nn.Module, in_shape: Shape | None = None, solver: str | None = None) -> Subspace:
    """The harmless perturbations of one layer: what it maps to zero (definition 1, theorem 1, corollaries 1 and 2).

    Args:
        layer: a linear map, or an affine module.
        in_shape: of one input of the module, without the batch; not needed for a map.
        solver: one of ``solvers.NAMES``; by structure, size and memory if None.

    Returns:
        The subspace, of dimension n − rank(A).

    Raises:
        UnsupportedLayerError: the module is not affine.
        ShapeError: it cannot read that shape.
        TooLargeError: the solver would take too much memory.
        UnknownNameError: no solver has that name.
    """
    return Nullspace(as_map(layer, in_shape), solver)


def rowspace(layer: LinearMap | nn.Module, in_shape: Shape | None = None) -> Subspace:
    """The row space C(Aᵀ) of a layer, the orthogonal complement of its nullspace. As ``nullspace``."""
    return nullspace(layer, in_shape).complement
