"""Floor 2: how the projector onto a nullspace is applied, one algorithm a file, and how well the rank is known."""

from .certificate import Certificate
from .choose import choose
from .solver import Solver

__all__ = ["Certificate", "Solver", "choose"]
