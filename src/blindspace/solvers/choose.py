"""Which solver serves a map: by structure first, by size second, with the reason in words."""

from __future__ import annotations

from torch import Tensor

from ..errors import TooLargeError, UnsupportedLayerError
from ..maps import Composed, Convolution, Dense, LinearMap, Padding, Rearrange, Scale, compose
from . import fourier, patchwise
from .dense import DenseSolver, memory
from .diagonal import DiagonalSolver
from .solver import Solver

FOURIER_FROM = 3000
"""Outputs from which a convolution goes to Fourier space; below, the whole matrix is as quick and cheaper to apply."""

PROOF_LIMIT = 2 << 30
"""Bytes that proving an outer factor injective may take."""


def choose(map: LinearMap) -> Solver:
    """The solver for the nullspace of a map.

    Args:
        map: any; of a composed one, factors that lose nothing are taken off the outer end first.

    Raises:
        TooLargeError: no structure is known and the matrix is too large for the dense solver.
    """
    if isinstance(map, Composed):
        return _composed(map)
    if isinstance(map, DiagonalSolver.kinds):
        return DiagonalSolver(map)
    if isinstance(map, Dense):
        return patchwise.TokenSolver(map)
    if isinstance(map, Convolution) and patchwise.serves(map):
        return patchwise.PatchwiseSolver(map)
    if isinstance(map, Convolution) and fourier.serves(map) and map.out_dim > FOURIER_FROM:
        return _fourier_or_dense(map)
    return DenseSolver(map)


def _fourier_or_dense(map: Convolution) -> Solver:
    """The Fourier solver, or the dense one where that refuses; where both do, the error says why each did."""
    try:
        return fourier.FourierSolver(map)
    except (UnsupportedLayerError, TooLargeError) as error:
        refusal = error
    try:
        return DenseSolver(map)
    except TooLargeError as error:
        raise TooLargeError(f"{refusal}; and {error}") from error


class ReducedSolver(Solver):
    """The solver of a simpler map with the same nullspace, up to a rearrangement R of the input: P = Rᵀ P' R.

    Args:
        map: A = B ∘ A' ∘ R, B injective.
        inner: solver of A'.
        rearrangement: R, or None.
        reason: what was taken off.
    """

    def __init__(self, map: LinearMap, inner: Solver, rearrangement: Rearrange | None, reason: str) -> None:
        super().__init__(map)
        self.inner = inner
        self.rearrangement = rearrangement
        self.name = inner.name
        # The rank is that of A'; so are the singular values, which B changes. N(A) is N(A')'s alone.
        self.certificate = inner.certificate
        self.reason = "; ".join(part for part in (reason, inner.reason) if part)

    def _project(self, x: Tensor) -> Tensor:
        if self.rearrangement is None:
            return self.inner._project(x)
        return self.rearrangement._adjoint(self.inner._project(self.rearrangement._forward(x)))


def _composed(map: Composed) -> Solver:
    whole = compose(map)
    factors = whole.factors if isinstance(whole, Composed) else [whole]
    # One factor for every value changes no nullspace.
    factors = [factor for factor in factors if not _uniform(factor)] or factors[:1]
    dropped = []
    while len(factors) > 1 and _loses_nothing(factors[-1]):
        dropped.append(repr(factors.pop()))
    first = factors[0]
    rearrangement = first if isinstance(first, Rearrange) and len(factors) > 1 else None
    if rearrangement is not None:
        factors = factors[1:]
    inner = choose(factors[0]) if len(factors) == 1 else DenseSolver(compose(*factors))
    reason = f"{' and '.join(dropped)} lose{'s' * (len(dropped) == 1)} nothing" if dropped else ""
    return ReducedSolver(map, inner, rearrangement, reason)


def _uniform(map: LinearMap) -> bool:
    """Whether the map multiplies every value by the same number, not 0."""
    return isinstance(map, Scale) and bool((map.weight == map.weight.flatten()[0]).all() and map.weight.any())


def _loses_nothing(map: LinearMap) -> bool:
    """Whether the map is proved injective."""
    if map.out_dim < map.in_dim:
        return False
    if isinstance(map, Scale | Padding | Rearrange):
        return DiagonalSolver(map).dim == 0
    if not patchwise.serves(map) and memory(map) > PROOF_LIMIT:
        return False
    try:
        solver = choose(map)
    except TooLargeError:
        return False
    return solver.dim == 0 and solver.certificate.kind == "exact"
