"""Floor 4: adversarial perturbations that can be confined to a subspace, one attack a file."""

from .directions import Basis, Cosines, Directions, Pixels, Uniform
from .fgsm import fgsm
from .gradient import Attacked
from .nes import nes
from .pgd import pgd
from .score import Queried
from .simba import simba

__all__ = [
    "Attacked",
    "Basis",
    "Cosines",
    "Directions",
    "Pixels",
    "Queried",
    "Uniform",
    "fgsm",
    "nes",
    "pgd",
    "simba",
]
