"""Floor 2: how the projector onto a nullspace is applied, one algorithm a file, and how well the rank is known."""

from .certificate import Certificate
from .choose import NAMES, choose
from .solver import Solver

__all__ = ["NAMES", "Certificate", "Solver", "choose"]
