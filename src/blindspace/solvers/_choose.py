"""The solver of a map: chosen from the registry by structure, size and memory, or asked for by name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from ..errors import BlindspaceError, TooLargeError, UnsupportedLayerError
from ..maps import Centring, Composed, Kronecker, LinearMap, compose
from ..maps.linear_map import FEW
from ..maps.properties import is_coisometric, is_injective, is_uniform
from .base import ON_REQUEST, REGISTRY, BoundSolver, Solver, SolverChoice, resolve
from .fourier import circulant_embedding
from .projectors.delegating import FactorPreconditioner, ReducedSolver
from .projectors.dense import DenseSolver
from .projectors.patchwise import PatchwiseSolver
from .projectors.separable import SeparableSolver
from .rank.certificate import Certificate, of_composition

PROOF_LIMIT = 2 << 30  # Bytes that proving an outer factor injective may take

WIDE = 1000  # Values between factors from which a composition of few inputs is taken column by column

WHOLE_LIMIT = 1 << 30
"""Bytes up to which a composed map is taken as one matrix; above, its factors' solvers precondition an iteration."""


def choose(operator: LinearMap, solver: SolverChoice = None) -> Solver:
    """The solver of the nullspace of a map.

    Args:
        operator: The linear map A. Injective factors at the outer end of a composed map are removed first.
        solver: The name of a registered solver (``NAMES``), a solver class or a class with options bound, to use that
            one; None to choose by structure, size and memory.

    Raises:
        UnknownNameError: No solver has that name.
        UnsupportedLayerError: The solver asked for does not serve the map.
        TooLargeError: The solver asked for would take too much memory.
    """
    wanted = resolve(solver)
    if isinstance(operator, Composed):
        return _composed(operator, wanted)
    return _asked(operator, wanted) if wanted else first_to_serve(operator, candidates(operator))


def candidates(operator: LinearMap) -> list[type[Solver]]:
    """The registered solvers that serve a map without being asked for, in the order in which they are tried."""
    serving = [(solver.cost(operator).preference, solver) for solver in REGISTRY.values() if solver.serves(operator)]
    return [solver for preference, solver in sorted(serving, key=lambda pair: pair[0]) if preference < ON_REQUEST]


def first_to_serve(operator: LinearMap, solvers: Iterable[type[Solver]]) -> Solver:
    """The first of several solvers, in the order given, that does not refuse a map.

    The reason of the last one states why the others refused; its refusal is raised if all do.
    """
    refusals: list[BlindspaceError] = []
    *_, last = order = list(solvers)
    for solver in order:
        try:
            found = solver.build_automatically(operator)
        except (UnsupportedLayerError, TooLargeError) as error:
            refusals.append(error)
            continue
        if refusals and solver is last:
            found.reason += f", as {'; and '.join(str(error) for error in refusals)}"
        return found
    raise refusals[-1]


def _asked(operator: LinearMap, wanted: BoundSolver) -> Solver:
    """The solver asked for."""
    if not wanted.solver.serves(operator):
        others = ", ".join(name for name, other in REGISTRY.items() if other.serves(operator))
        raise UnsupportedLayerError(f"the {wanted.solver.name} solver does not serve {operator}; these do: {others}")
    return wanted.solver.build(operator, **wanted.options)


def _composed(operator: Composed, wanted: BoundSolver | None) -> Solver:
    """The solver of a composition without outer factors that are injective and an inner one that only moves values.

    If few inputs grow to many values, the whole matrix is quicker than anything that is known of the factors.
    """
    grows = operator.in_dim <= FEW and max(factor.out_dim for factor in operator.factors) > WIDE
    if wanted is None and grows and DenseSolver.cost(operator).memory <= WHOLE_LIMIT:
        return DenseSolver(operator)
    factors = compose(operator).factors
    # A uniform scaling changes no nullspace, wherever it stands.
    kept = [factor for factor in factors if not is_uniform(factor)] or factors[:1]
    scale = math.prod(factor.norm() for factor in factors if factor not in kept)
    first = kept.pop(0) if len(kept) > 1 and is_coisometric(kept[0]) else None
    dropped: list[LinearMap] = []
    proofs: list[Certificate] = []
    while len(kept) > 1 and (proof := _injective(kept[-1])) is not None:
        dropped.append(kept.pop())
        proofs.append(proof)
    inner = _of_factors(kept, wanted)
    if proofs or scale != 1:
        certificate = of_composition([inner.certificate, *proofs], scale, operator.norm(), operator.shape)
    else:
        certificate = inner.certificate
    if isinstance(first, Centring):
        certificate = replace(certificate, method=f"{certificate.method}, of deviations from a mean")
    reason = f"{' and '.join(map(repr, dropped))} {'is' if len(dropped) == 1 else 'are'} injective" if dropped else ""
    return ReducedSolver(operator, inner, first, certificate, reason)


def _of_factors(factors: list[LinearMap], wanted: BoundSolver | None) -> Solver:
    """The solver of what is left of a composed map."""
    whole = compose(*factors)
    if len(factors) == 1:
        return choose(factors[0], wanted)
    if wanted is None:
        order = candidates(whole)
        before = order[: order.index(DenseSolver)]
        if before:
            with suppress(UnsupportedLayerError, TooLargeError):
                return first_to_serve(whole, before)
        if DenseSolver.cost(whole).memory <= WHOLE_LIMIT:
            return DenseSolver(whole)
    elif not issubclass(wanted.solver, REGISTRY["krylov"]):
        return _asked(whole, wanted)
    iteration = wanted or BoundSolver(REGISTRY["krylov"])
    found = _preconditioned(whole, factors, iteration)
    if found is not None:
        return found
    if wanted is None:
        with suppress(TooLargeError):
            return DenseSolver(whole)
    return _asked(whole, iteration)


def _preconditioned(whole: LinearMap, factors: list[LinearMap], iteration: BoundSolver) -> Solver | None:
    """Conjugate gradients, preconditioned by the solvers of the factors; None unless all have full row rank."""
    solvers = [choose(factor) for factor in factors]
    certificates = [solver.certificate for solver in solvers]
    kinds = {certificate.kind for certificate in certificates}
    if "undecided" in kinds or any(solver.certificate.rank < solver.operator.out_dim for solver in solvers):
        return None
    # A composition of surjective maps is surjective.
    certificate = replace(
        of_composition(certificates[::-1], 1.0, whole.norm(), whole.shape),
        rank=whole.out_dim,
        method=f"every factor has full row rank: {' and '.join(each.method for each in certificates)}",
        sigma_below=None,
        exact_rank=None,
    )
    names = " and ".join(solver.name for solver in solvers)
    found: dict[str, Any] = {"certificate": certificate, "reason": "conjugate gradients"}
    preconditioner = FactorPreconditioner(*solvers)
    with suppress(UnsupportedLayerError):  # a solver may certify a factor without an inverse of its A Aᵀ to offer
        preconditioner(torch.ones(1, *whole.out_shape, dtype=torch.float64))
        found["preconditioner"] = preconditioner
        found["reason"] += f", preconditioned by the solvers of {len(factors)} factors: {names}"
    if isinstance(factors[0], Kronecker):
        # The inputs may be many times as many as the values between the factors; R Rᵀ never meets them.
        between = Kronecker([matrix @ matrix.T for matrix in factors[0].matrices], factors[0].out_shape)
        outer = compose(*factors[1:])
        found["gram"] = lambda u: outer._forward(between._forward(outer._adjoint(u)))
    return iteration.solver.build(whole, **{**found, **iteration.options})


def _injective(operator: LinearMap) -> Certificate | None:
    """The certificate of a map that is known to be injective; None if it is not, or if the rank is undecided."""
    known = is_injective(operator)
    if known is False:
        return None
    structured = known or (
        PatchwiseSolver.serves(operator) or SeparableSolver.serves(operator) or circulant_embedding.embeds(operator)
    )
    if not structured and DenseSolver.cost(operator).memory > PROOF_LIMIT:
        return None
    try:
        solver = choose(operator)
    except TooLargeError:
        return None
    return solver.certificate if solver.dim == 0 and solver.certificate.kind != "undecided" else None
