"""Which solver serves a map: by structure first, by size and memory second, with the reason in words."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace

import torch

from ..errors import BlindspaceError, BlindspaceWarning, TooLargeError, UnknownNameError, UnsupportedLayerError
from ..maps import Composed, Convolution, Dense, Diagonal, Gather, Kronecker, LinearMap, Padding, Rearrange, compose
from .base import Solver
from .fourier import circulant_embedding as torus
from .fourier import projector as fourier
from .fourier.projector import FourierSolver
from .projectors import basis_on_demand as on_demand
from .projectors import dense, grouped, patchwise, separable
from .projectors.basis_on_demand import OnDemandSolver
from .projectors.dense import DenseSolver
from .projectors.diagonal import DiagonalSolver
from .projectors.factor_preconditioner import FactorPreconditioner
from .projectors.grouped import GroupedSolver
from .projectors.krylov import KrylovSolver
from .projectors.reduced import InjectiveSolver, ReducedSolver, StructuredSolver
from .projectors.separable import SeparableSolver
from .rank import kernel_reduction as structure
from .rank.certificate import Certificate, Kind
from .rank.inertia import certify
from .rank.inverse_probe import inverts

NAMES = ("dense", "diagonal", "patchwise", "separable", "grouped", "fourier", "krylov")
"""What can be asked for by name."""

LARGE = 3000
"""Outputs, or inputs of a layer with more outputs, from which a convolution goes to Fourier space; below, the whole
matrix is as quick to factor and cheaper to apply."""

FOURIER_LIMIT = 4 << 30
"""Bytes that a solver in Fourier space may take; above, conjugate gradients need next to none."""

PROOF_LIMIT = 2 << 30
"""Bytes that proving an outer factor injective may take."""

PROBED = 1e-7
"""Residual of an inverse that is to tell a full rank, …"""

PROBES = 500
"""… and the iterations it gets for that."""

WHOLE_LIMIT = 1 << 30
"""Bytes up to which a composed map is taken as one matrix; above, its factors' solvers precondition an iteration."""


def choose(map: LinearMap, solver: str | None = None) -> Solver:
    """The solver for the nullspace of a map.

    Args:
        map: any; of a composed one, factors that lose nothing are taken off the outer end first.
        solver: one of ``NAMES``, to have that one; by structure and size if None.

    Raises:
        UnknownNameError: no solver has that name.
        UnsupportedLayerError: the solver asked for does not serve the map.
        TooLargeError: the solver asked for would take too much memory.
    """
    if solver is not None and solver not in NAMES:
        raise UnknownNameError(f"no solver is called {solver!r}; there are: {', '.join(NAMES)}")
    if isinstance(map, Composed):
        return _composed(map, solver)
    return _single(map) if solver is None else _asked(map, solver)


def _single(map: LinearMap) -> Solver:
    for name in ("diagonal", "patchwise", "separable", "grouped"):
        if _serves(map, name):
            return _asked(map, name)
    refusals: list[BlindspaceError] = []
    if torus.serves(map) and max(map.out_dim, map.in_dim) > LARGE and min(map.out_dim, map.in_dim) > LARGE // 4:
        found = structure.reduce(map) if isinstance(map, Convolution) else None
        if found is not None:
            return StructuredSolver(map, found, choose(found.conv))
        try:
            if not fourier.serves(map):
                return _injective(map)
            solver = FourierSolver(map, FOURIER_LIMIT)
            return OnDemandSolver(solver) if on_demand.pays(solver) else solver
        except (UnsupportedLayerError, TooLargeError) as error:
            refusals.append(error)
    try:
        return DenseSolver(map)
    except TooLargeError as error:
        refusals.append(error)
    return _iterated(map, refusals)


def _injective(map: LinearMap) -> Solver:
    return InjectiveSolver(map, FourierSolver(map.T, FOURIER_LIMIT))


def _serves(map: LinearMap, name: str) -> bool:
    match name:
        case "diagonal":
            return isinstance(map, DiagonalSolver.kinds)
        case "patchwise":
            return patchwise.serves(map)
        case "separable":
            return separable.serves(map)
        case "grouped":
            return grouped.serves(map)
        case "fourier":
            return torus.serves(map) and (fourier.serves(map) or fourier.serves(map.T))
    return True


def _asked(map: LinearMap, name: str) -> Solver:
    """The solver of that name."""
    if not _serves(map, name):
        served = ", ".join(other for other in NAMES if _serves(map, other))
        raise UnsupportedLayerError(f"the {name} solver does not serve {map}; these do: {served}")
    match map, name:
        case _, "diagonal":
            return DiagonalSolver(map)
        case Dense(), "patchwise":
            return patchwise.TokenSolver(map)
        case Convolution(), "patchwise":
            return patchwise.PatchwiseSolver(map)
        case Kronecker(), "separable":
            return SeparableSolver(map)
        case Convolution(), "grouped":
            return GroupedSolver(map, choose)
        case _, "fourier":
            return FourierSolver(map) if fourier.serves(map) else _injective(map)
        case _, "krylov":
            return _iterated(map, [])
    return DenseSolver(map)


# --- conjugate gradients, where nothing else serves ------------------------------------------------------


def _iterated(map: LinearMap, refusals: list[BlindspaceError]) -> Solver:
    """Conjugate gradients, preconditioned by the circular inverse where the map is a part of one that contracts."""
    preconditioner = None
    reason = "conjugate gradients"
    if torus.serves(map) and fourier.contracts(map):
        preconditioner = torus.EmbeddedInverse(map)
        reason = "conjugate gradients, preconditioned by the inverse on a torus"
    if refusals:
        reason += f", as {'; and '.join(str(error) for error in refusals)}"
    certificate = None
    with suppress(TooLargeError, UnsupportedLayerError):
        certificate = certify(map)
    solver = KrylovSolver(map, preconditioner, certificate=certificate, reason=reason)
    if certificate is None and solver.certificate.rank == map.out_dim and _inverts(solver):
        method = "the iteration inverts A Aᵀ; smallest σ by inverse iteration"
        solver.certificate = replace(solver.certificate, kind="numerical", method=method)
    return solver


def _inverts(solver: KrylovSolver) -> bool:
    """Whether every row of the map is independent, as far as an iteration of bearable length can tell."""
    probe = KrylovSolver(
        solver.map, solver.preconditioner, tolerance=PROBED, certificate=solver.certificate, limit=PROBES
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", BlindspaceWarning)
        try:
            return inverts(solver.map, probe.gram_inverse)
        except (BlindspaceError, BlindspaceWarning):
            return False


# --- composed maps ---------------------------------------------------------------------------------------


def _composed(map: Composed, name: str | None) -> Solver:
    whole = compose(map)
    factors = whole.factors if isinstance(whole, Composed) else [whole]
    # One factor for every value changes no nullspace.
    factors = [factor for factor in factors if not _uniform(factor)] or factors[:1]
    dropped, kinds = [], set()
    while len(factors) > 1 and (kind := _loses_nothing(factors[-1])) is not None:
        dropped.append(repr(factors.pop()))
        kinds.add(kind)
    first = factors.pop(0) if len(factors) > 1 and _only_moves(factors[0]) else None
    inner = choose(factors[0], name) if len(factors) == 1 else _of_factors(factors, name)
    reason = f"{' and '.join(dropped)} lose{'s' * (len(dropped) == 1)} nothing" if dropped else ""
    solver = ReducedSolver(map, inner, first, reason)
    if "numerical" in kinds and solver.certificate.kind == "exact":
        solver.certificate = replace(solver.certificate, kind="numerical")
    return solver


def _of_factors(factors: list[LinearMap], name: str | None) -> Solver:
    whole = compose(*factors)
    if name not in (None, "krylov", "dense"):
        raise UnsupportedLayerError(f"the {name} solver does not serve {whole}, of {len(factors)} factors")
    if name == "dense" or (name is None and dense.memory(whole) <= WHOLE_LIMIT):
        return DenseSolver(whole)
    solvers = [choose(factor) for factor in factors]
    onto = all(solver.certificate.rank == solver.map.out_dim for solver in solvers)
    kinds = [solver.certificate.kind for solver in solvers]
    if onto and "undecided" not in kinds:
        # Maps that reach everything reach everything together.
        sigmas = [solver.certificate for solver in solvers]
        certificate = Certificate(
            rank=whole.out_dim,
            kind="exact" if set(kinds) == {"exact"} else "numerical",
            method=f"every factor has full row rank: {' and '.join(solver.certificate.method for solver in solvers)}",
            tolerance=max(whole.in_dim, whole.out_dim) * torch.finfo(torch.float64).eps * whole.norm(),
            sigma_max=whole.norm(),
            sigma_above=float(torch.tensor([sigma.sigma_above or 0.0 for sigma in sigmas]).prod()),
            sigma_below=None,
        )
        names = " and ".join(solver.name for solver in solvers)
        reason = f"conjugate gradients, preconditioned by the solvers of {len(factors)} factors: {names}"
        return KrylovSolver(whole, FactorPreconditioner(*solvers), certificate=certificate, reason=reason)
    if name is None:
        with suppress(TooLargeError):
            return DenseSolver(whole)
    return _iterated(whole, [])


def _uniform(map: LinearMap) -> bool:
    """Whether the map multiplies every value by the same number, not 0."""
    return isinstance(map, Diagonal) and bool((map.weight == map.weight.flatten()[0]).all() and map.weight.any())


def _only_moves(map: LinearMap) -> bool:
    """Whether every output is one input value, and no two the same one: A Aᵀ = 1."""
    match map:
        case Rearrange():
            return True
        case Gather():
            return map.once
        case Padding():
            return all(before <= 0 and after <= 0 for before, after in map.amounts)
    return False


def _loses_nothing(map: LinearMap) -> Kind | None:
    """Whether the map is injective, as far as that is proved; None where it is not, or undecided."""
    if map.out_dim < map.in_dim:
        return None
    if isinstance(map, Diagonal | Padding | Rearrange | Gather):
        return "exact" if DiagonalSolver(map).dim == 0 else None
    structured = patchwise.serves(map) or separable.serves(map) or torus.serves(map)
    if not structured and dense.memory(map) > PROOF_LIMIT:
        return None
    try:
        solver = choose(map)
    except TooLargeError:
        return None
    return solver.certificate.kind if solver.dim == 0 and solver.certificate.kind != "undecided" else None
