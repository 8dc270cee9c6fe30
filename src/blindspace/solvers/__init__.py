"""Floor 2: how the projector onto a nullspace is applied, one algorithm a file, and how well the rank is known."""

from ._choose import NAMES, choose
from .base import Solver
from .rank.certificate import Certificate

__all__ = ["NAMES", "Certificate", "Solver", "choose"]
