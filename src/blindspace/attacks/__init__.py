"""Floor 4: adversarial perturbations that can be confined to a subspace, one attack a file."""

from .fgsm import fgsm
from .gradient import Attacked
from .pgd import pgd

__all__ = ["Attacked", "fgsm", "pgd"]
