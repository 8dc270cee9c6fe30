"""The nullspace of a map: changes its output cannot show. Definition 1, theorem 1."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor

from ..errors import BlindspaceWarning
from ..maps import LinearMap, Operator, as_linear_map
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


def nullspace(
    operator: Operator, input_shape: Sequence[int] | None = None, solver: Solver | str | None = None
) -> Subspace:
    """The nullspace of an operator: the perturbations that it maps to 0 (definition 1, theorem 1, corollaries 1 and 2).

    Args:
        operator: Whatever ``as_linear_map`` accepts: a linear map, an affine module, a network or a subspace.
        input_shape: Shape of one input without the batch axis; only a module needs it.
        solver: One of ``solvers.NAMES``; chosen by structure, size and memory if None.

    Returns:
        The subspace, of dimension n − rank(A).

    Raises:
        BlindspaceError: The operator is of no accepted type.
        UnsupportedLayerError: The module is not affine.
        ShapeError: The module cannot read that shape.
        TooLargeError: The solver would take too much memory.
        UnknownNameError: No solver has that name.
    """
    return Nullspace(as_linear_map(operator, input_shape), solver)


def rowspace(operator: Operator, input_shape: Sequence[int] | None = None) -> Subspace:
    """The row space C(Aᵀ) of an operator, the orthogonal complement of its nullspace.

    Args and errors are those of ``nullspace``.
    """
    return nullspace(operator, input_shape).complement
