"""Floor 2: how the projector onto a map's nullspace is applied, one algorithm a file, and how well its rank is known."""

from .certificate import Certificate
from .choose import choose
from .solver import Solver

__all__ = ["Certificate", "Solver", "choose"]
