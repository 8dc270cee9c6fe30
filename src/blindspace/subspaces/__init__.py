"""Linear subspaces of perturbations, their intersection with the pixel range, and the ε-nullity of a map."""

from .box import Nearest, Norm, nearest, norms
from .epsilon_nullity import EpsilonNullity, Spectrum, soft_dimension, spectrum
from .subspace import Complement, Nullspace, ProjectorMap, Split, Subspace, nullspace, rowspace, span

__all__ = [
    "Complement",
    "EpsilonNullity",
    "Nearest",
    "Norm",
    "Nullspace",
    "ProjectorMap",
    "Spectrum",
    "Split",
    "Subspace",
    "nearest",
    "norms",
    "nullspace",
    "rowspace",
    "soft_dimension",
    "span",
    "spectrum",
]
