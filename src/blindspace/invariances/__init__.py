"""What a network cannot see beyond its affine front: through its layers, along level sets, for non-linear reasons."""

from ._harmless_polyhedron import harmless_polyhedron
from ._harmless_set import harmless_set
from ._level_set import Path, level_set
from ._local import Local, SingularDirections, local
from ._nonlinearities import Nonlinearity, nonlinearities
from ._through import Found, Through, through
from ._units import UnitCounts, Units, units
from .activation_sets import Directions, HarmlessSet, Intervals
from .features import Features
from .polyhedron import Bounds, Polyhedron

__all__ = [
    "Bounds",
    "Directions",
    "Features",
    "Found",
    "HarmlessSet",
    "Intervals",
    "Local",
    "Nonlinearity",
    "Path",
    "Polyhedron",
    "SingularDirections",
    "Through",
    "UnitCounts",
    "Units",
    "harmless_polyhedron",
    "harmless_set",
    "level_set",
    "local",
    "nonlinearities",
    "through",
    "units",
]
