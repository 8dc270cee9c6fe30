"""Blindspace finds, proves and uses what a neural network cannot see.

>>> import torch, blindspace as bs
>>> space = bs.nullspace(torch.nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32))
>>> space.dim, space.certificate.kind
(512, 'exact')
"""

from .attacks import fgsm, pgd
from .errors import BlindspaceError
from .evidence import Evidence, verify
from .maps import LinearMap, from_module
from .networks import Network, front, harmless, load
from .perturbations import family, harmless_noise, least_harmful
from .subspaces import Split, Subspace, nullspace, rowspace, span

__version__ = "0.1.0"

__all__ = [
    "BlindspaceError",
    "Evidence",
    "LinearMap",
    "Network",
    "Split",
    "Subspace",
    "family",
    "fgsm",
    "from_module",
    "front",
    "harmless",
    "harmless_noise",
    "least_harmful",
    "load",
    "nullspace",
    "pgd",
    "rowspace",
    "span",
    "verify",
]
