"""Blindspace finds, proves and uses what a neural network cannot see.

>>> import torch, blindspace as bs
>>> space = bs.nullspace(torch.nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32))
>>> space.dim, space.certificate.kind
(512, 'exact')

Names are imported when they are first used, so that the command line answers at once, to Ctrl-C too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attacks import fgsm, pgd
    from .errors import BlindspaceError
    from .evidence import Evidence, blind_energy, verify
    from .experiments.runner import reproduce
    from .maps import LinearMap, from_module
    from .networks import Network, front, harmless, load
    from .perturbations import family, harmless_noise, least_harmful
    from .subspaces import Split, Subspace, nullspace, rowspace, soft_dimension, span

__version__ = "0.1.0"

__all__ = [
    "BlindspaceError",
    "Evidence",
    "LinearMap",
    "Network",
    "Split",
    "Subspace",
    "blind_energy",
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
    "reproduce",
    "rowspace",
    "soft_dimension",
    "span",
    "verify",
]

_ROOMS = ("errors", "maps", "subspaces", "networks", "attacks", "perturbations", "evidence", "experiments.runner")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for room in _ROOMS:
            value = getattr(import_module(f".{room}", __name__), name, None)
            if value is not None:
                globals()[name] = value
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
