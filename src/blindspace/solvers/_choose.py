"""Which solver serves a map: by structure first, by size and memory second, with the reason in words."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace

import torch

from ..errors import BlindspaceError, BlindspaceWarning, TooLargeError, UnknownNameError, UnsupportedLayerError
from ..maps import Composed, Convolution, Dense, Kronecker, LinearMap, compose
from ..maps.properties import is_coisometric, is_injective, is_uniform
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


def choose(operator: LinearMap, solver: str | None = None) -> Solver:
    """The solver for the nullspace of a map.

    Args:
        operator: any; of a composed one, factors that lose nothing are taken off the outer end first.
        solver: one of ``NAMES``, to have that one; by structure and size if None.

    Raises:
        UnknownNameError: no solver has that name.
        UnsupportedLayerError: the solver asked for does not serve the map.
        TooLargeError: the solver asked for would take too much memory.
    """
    if solver is not None and solver not in NAMES:
        raise UnknownNameError(f"no solver is called {solver!r}; there are: {', '.join(NAMES)}")
    if isinstance(operator, Composed):
        return _composed(operator, solver)
    return _single(operator) if solver is None else _asked(operator, solver)


def _single(operator: LinearMap) -> Solver:
    for name in ("diagonal", "patchwise", "separable", "grouped"):
        if _serves(operator, name):
            return _asked(operator, name)
    refusals: list[BlindspaceError] = []
    if (
        torus.serves(operator)
        and max(operator.out_dim, operator.in_dim) > LARGE
        and min(operator.out_dim, operator.in_dim) > LARGE // 4
    ):
        found = structure.reduce(operator) if isinstance(operator, Convolution) else None
        if found is not None:
            return StructuredSolver(operator, found, choose(found.conv))
        try:
            if not fourier.serves(operator):
                return _injective(operator)
            solver = FourierSolver(operator, FOURIER_LIMIT)
            return OnDemandSolver(solver) if on_demand.pays(solver) else solver
        except (UnsupportedLayerError, TooLargeError) as error:
            refusals.append(error)
    try:
        return DenseSolver(operator)
    except TooLargeError as error:
        refusals.append(error)
    return _iterated(operator, refusals)


def _injective(operator: LinearMap) -> Solver:
    return InjectiveSolver(operator, FourierSolver(operator.T, FOURIER_LIMIT))


def _serves(operator: LinearMap, name: str) -> bool:
    match name:
        case "diagonal":
            return isinstance(operator, DiagonalSolver.kinds)
        case "patchwise":
            return patchwise.serves(operator)
        case "separable":
            return separable.serves(operator)
        case "grouped":
            return grouped.serves(operator)
        case "fourier":
            return torus.serves(operator) and (fourier.serves(operator) or fourier.serves(operator.T))
    return True


def _asked(operator: LinearMap, name: str) -> Solver:
    """The solver of that name."""
    if not _serves(operator, name):
        served = ", ".join(other for other in NAMES if _serves(operator, other))
        raise UnsupportedLayerError(f"the {name} solver does not serve {operator}; these do: {served}")
    match operator, name:
        case _, "diagonal":
            return DiagonalSolver(operator)
        case Dense(), "patchwise":
            return patchwise.TokenSolver(operator)
        case Convolution(), "patchwise":
            return patchwise.PatchwiseSolver(operator)
        case Kronecker(), "separable":
            return SeparableSolver(operator)
        case Convolution(), "grouped":
            return GroupedSolver(operator, choose)
        case _, "fourier":
            return FourierSolver(operator) if fourier.serves(operator) else _injective(operator)
        case _, "krylov":
            return _iterated(operator, [])
    return DenseSolver(operator)


# --- conjugate gradients, where nothing else serves ------------------------------------------------------


def _iterated(operator: LinearMap, refusals: list[BlindspaceError]) -> Solver:
    """Conjugate gradients, preconditioned by the circular inverse where the map is a part of one that contracts."""
    preconditioner = None
    reason = "conjugate gradients"
    if torus.serves(operator) and fourier.contracts(operator):
        preconditioner = torus.EmbeddedInverse(operator)
        reason = "conjugate gradients, preconditioned by the inverse on a torus"
    if refusals:
        reason += f", as {'; and '.join(str(error) for error in refusals)}"
    certificate = None
    with suppress(TooLargeError, UnsupportedLayerError):
        certificate = certify(operator)
    solver = KrylovSolver(operator, preconditioner, certificate=certificate, reason=reason)
    if certificate is None and solver.certificate.rank == operator.out_dim and _inverts(solver):
        method = "the iteration inverts A Aᵀ; smallest σ by inverse iteration"
        solver.certificate = replace(solver.certificate, kind="numerical", method=method)
    return solver


def _inverts(solver: KrylovSolver) -> bool:
    """Whether every row of the map is independent, as far as an iteration of bearable length can tell."""
    probe = KrylovSolver(
        solver.operator, solver.preconditioner, tolerance=PROBED, certificate=solver.certificate, limit=PROBES
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", BlindspaceWarning)
        try:
            return inverts(solver.operator, probe.gram_inverse)
        except (BlindspaceError, BlindspaceWarning):
            return False


# --- composed maps ---------------------------------------------------------------------------------------


def _composed(operator: Composed, name: str | None) -> Solver:
    factors = compose(operator).factors
    # One factor for every value changes no nullspace.
    factors = [factor for factor in factors if not is_uniform(factor)] or factors[:1]
    dropped, kinds = [], set()
    while len(factors) > 1 and (kind := _loses_nothing(factors[-1])) is not None:
        dropped.append(repr(factors.pop()))
        kinds.add(kind)
    first = factors.pop(0) if len(factors) > 1 and is_coisometric(factors[0]) else None
    inner = choose(factors[0], name) if len(factors) == 1 else _of_factors(factors, name)
    reason = f"{' and '.join(dropped)} lose{'s' * (len(dropped) == 1)} nothing" if dropped else ""
    solver = ReducedSolver(operator, inner, first, reason)
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
    onto = all(solver.certificate.rank == solver.operator.out_dim for solver in solvers)
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


def _loses_nothing(operator: LinearMap) -> Kind | None:
    """Whether the map is injective, as far as that is proved; None where it is not, or undecided."""
    known = is_injective(operator)
    if known is not None:
        return "exact" if known else None
    structured = patchwise.serves(operator) or separable.serves(operator) or torus.serves(operator)
    if not structured and dense.memory(operator) > PROOF_LIMIT:
        return None
    try:
        solver = choose(operator)
    except TooLargeError:
        return None
    return solver.certificate.kind if solver.dim == 0 and solver.certificate.kind != "undecided" else None
