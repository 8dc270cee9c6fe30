"""Adversarial perturbations that can be confined to a subspace, one attack per file."""

from ._fgsm import fgsm
from ._latent import Latent, latent, random_latent
from ._minimal_norm import MinimalNorm, minimal_norm
from ._nes import nes
from ._pgd import pgd
from ._simba import simba
from ._sparse import sparse
from .adversary import PGDAdversary
from .directions import Basis, Cosines, Directions, Pixels, Uniform
from .gradient import Attacked
from .score import Queried

__all__ = [
    "Attacked",
    "Basis",
    "Cosines",
    "Directions",
    "Latent",
    "MinimalNorm",
    "PGDAdversary",
    "Pixels",
    "Queried",
    "Uniform",
    "fgsm",
    "latent",
    "minimal_norm",
    "nes",
    "pgd",
    "random_latent",
    "simba",
    "sparse",
]
