"""Perturbations with a chosen effect on a network, or none."""

from ._decoy import Decoy, decoy
from ._family import Decomposition, Relation, decompose, family, relation, smallest
from ._keyed import Key, key_score, keyed
from ._largest import Largest, largest
from ._least_harmful import LeastHarmful, least_harmful
from ._perturb import Perturbed, perturb
from ._scaling_attack import ScalingAttack, scaling_attack
from .builtin_kinds import BUILTIN_KINDS
from .contour import ContourGrid, contour_grid
from .registry import Kind, Made, Recipe, Task, kind_named, kinds, register
from .removal import Fit, Removal, remove_keyed
from .rounding import round_to_levels
from .sample import harmless_noise, rescale
from .text import text_picture

__all__ = [
    "BUILTIN_KINDS",
    "ContourGrid",
    "Decomposition",
    "Decoy",
    "Fit",
    "Key",
    "Kind",
    "Largest",
    "LeastHarmful",
    "Made",
    "Perturbed",
    "Recipe",
    "Relation",
    "Removal",
    "ScalingAttack",
    "Task",
    "contour_grid",
    "decompose",
    "decoy",
    "family",
    "harmless_noise",
    "key_score",
    "keyed",
    "kind_named",
    "kinds",
    "largest",
    "least_harmful",
    "perturb",
    "register",
    "relation",
    "remove_keyed",
    "rescale",
    "round_to_levels",
    "scaling_attack",
    "smallest",
    "text_picture",
]
