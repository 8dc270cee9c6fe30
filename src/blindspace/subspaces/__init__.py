"""Floor 3: where perturbations live."""

from .box import Nearest, nearest, norms
from .combine import intersection, union
from .nullspace import Nullspace, nullspace, rowspace
from .span import span
from .subspace import Split, Subspace

__all__ = [
    "Nearest",
    "Nullspace",
    "Split",
    "Subspace",
    "intersection",
    "nearest",
    "norms",
    "nullspace",
    "rowspace",
    "span",
    "union",
]
