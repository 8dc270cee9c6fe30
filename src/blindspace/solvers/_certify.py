"""The certificate of a map's rank by itself, where that takes less than the projector onto its nullspace."""

from __future__ import annotations

from math import prod

from ..maps import Dense, LinearMap
from .fourier.solver import FourierSolver
from .projectors.local import LARGE
from .projectors.patchwise import PatchwiseSolver
from .rank import lu_certificate
from .rank.certificate import Certificate, merge
from .rank.lanczos_probe import probe
from .rank.window_certificate import QUICK_COLUMNS, QUICK_WORK, certificate


def certify_quickly(operator: LinearMap) -> tuple[Certificate, str] | None:
    """The certificate of a large layer without a projector, and why it holds, in words.

    LU proves the full rank of most fully connected layers, windows that of most convolutions. Of what is left,
    well-conditioned convolutions whose boundary system could not be factored get the smallest σ, which is all that
    their solver would find, by Lanczos.

    Returns:
        None for maps of other kinds, and for layers whose rank would take their solver.
    """
    if isinstance(operator, Dense):
        proof = lu_certificate.certificate(operator.matrix)
        tokens = prod(operator.leading)
        return None if proof is None else (merge([(proof, tokens)]), "a square part of the matrix is regular")
    if operator.in_dim <= LARGE or PatchwiseSolver.serves(operator):
        return None
    found = certificate(operator, QUICK_COLUMNS, QUICK_WORK)
    wide = operator.out_dim < operator.in_dim and FourierSolver.applies(operator)
    if found is None and wide and not FourierSolver.factors(operator):
        numerical = probe(operator)
        found = None if numerical is None else (numerical, "a smallest σ far above rounding")
    return found
