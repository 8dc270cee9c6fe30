"""How the projector onto a nullspace is applied, one algorithm per file, and how well the rank is known."""

# Solvers register as they are imported: this order is that of the names.
# isort: off
from .base import NAMES, BoundSolver, Cost, Solver, SolverChoice, register, table
from .projectors.dense import DenseSolver
from .projectors.diagonal import DiagonalSolver
from .projectors.patchwise import PatchwiseSolver
from .projectors.separable import SeparableSolver
from .projectors.grouped import GroupedSolver
from .projectors.blockwise import BlockwiseSolver
from .projectors.local import LocalSolver
from .fourier.solver import FourierSolver
from .projectors.krylov import KrylovSolver
from .projectors.masked import MaskedSolver
from .rank.certificate import Certificate
from ._choose import choose
# isort: on

__all__ = [
    "NAMES",
    "BlockwiseSolver",
    "BoundSolver",
    "Certificate",
    "Cost",
    "DenseSolver",
    "DiagonalSolver",
    "FourierSolver",
    "GroupedSolver",
    "KrylovSolver",
    "LocalSolver",
    "MaskedSolver",
    "PatchwiseSolver",
    "SeparableSolver",
    "Solver",
    "SolverChoice",
    "choose",
    "register",
    "table",
]
