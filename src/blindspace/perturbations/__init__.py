"""Floor 5: making perturbations with a wanted effect, or none."""

from .contour import ContourGrid, contour_grid
from .family import Decomposition, Relation, decompose, family, relation, smallest
from .least_harmful import LeastHarmful, least_harmful
from .sample import harmless_noise, rescale

__all__ = [
    "ContourGrid",
    "Decomposition",
    "LeastHarmful",
    "Relation",
    "contour_grid",
    "decompose",
    "family",
    "harmless_noise",
    "least_harmful",
    "relation",
    "rescale",
    "smallest",
]
