"""Floor 5: making perturbations with a wanted effect, or none."""

from ._decoy import Decoy, decoy
from ._family import Decomposition, Relation, decompose, family, relation, smallest
from ._largest import Largest, largest
from ._least_harmful import LeastHarmful, least_harmful
from .contour import ContourGrid, contour_grid
from .keyed import Key, key_score, keyed_noise
from .recipe import Recipe
from .rounding import round_to_levels
from .sample import harmless_noise, rescale
from .text import text_picture

__all__ = [
    "ContourGrid",
    "Decomposition",
    "Decoy",
    "Key",
    "Largest",
    "LeastHarmful",
    "Recipe",
    "Relation",
    "contour_grid",
    "decompose",
    "decoy",
    "family",
    "harmless_noise",
    "key_score",
    "keyed_noise",
    "largest",
    "least_harmful",
    "relation",
    "rescale",
    "round_to_levels",
    "smallest",
    "text_picture",
]
