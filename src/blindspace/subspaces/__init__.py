"""Floor 3: where perturbations live."""

from ._nullspace import Nullspace, nullspace, rowspace
from ._span import span
from .box import Nearest, nearest, norms
from .combine import intersection, union
from .epsilon_nullity import EpsilonNullity, Spectrum, soft_dimension, spectrum
from .subspace import Split, Subspace

__all__ = [
    "EpsilonNullity",
    "Nearest",
    "Nullspace",
    "Spectrum",
    "Split",
    "Subspace",
    "intersection",
    "nearest",
    "norms",
    "nullspace",
    "rowspace",
    "soft_dimension",
    "span",
    "spectrum",
    "union",
]
