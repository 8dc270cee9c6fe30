"""Floor 3: where perturbations live."""

from .box import Nearest, nearest, norms
from .combine import intersection, union
from .nullspace import Nullspace, nullspace, rowspace
from .soft import SoftDimension, Spectrum, soft_dimension, spectrum
from .span import span
from .subspace import Split, Subspace

__all__ = [
    "Nearest",
    "Nullspace",
    "SoftDimension",
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
