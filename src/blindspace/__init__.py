"""Blindspace finds, proves and uses what a neural network cannot see.

>>> import torch, blindspace as bs
>>> space = bs.nullspace(torch.nn.Conv2d(3, 10, 7, 2, 3), (3, 32, 32))
>>> space.dim, space.certificate.kind
(512, 'exact')

Every command of the command line is a function of the same name here; ``bench`` and ``data`` are sub-packages. Names
are imported on first use, so that ``import blindspace`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import bench, data, testing
    from .attacks import fgsm, latent, minimal_norm, nes, pgd, simba, sparse
    from .collections import inspect_collection, protect
    from .errors import BlindspaceError
    from .evidence import (
        Acceptance,
        Audit,
        Evidence,
        ResizeReference,
        accept,
        audit,
        blind_energy,
        clean_resize,
        exposure,
        identify,
        identify_resizer,
        inspect,
        inspect_resize,
        leakage,
        verify,
    )
    from .experiments.runner import reproduce
    from .integrations import (
        Clean,
        VisibleComponent,
        clean_preprocessor,
        compare_attributions,
        confined,
        confined_classifier,
        export_clean,
    )
    from .invariances import (
        Through,
        harmless_polyhedron,
        harmless_set,
        level_set,
        local,
        nonlinearities,
        through,
        units,
    )
    from .learning import learn, mislabel, mislabel_set, read_set
    from .manifolds import Manifold, OnOff, manifold, on_off
    from .maps import LinearMap, from_module
    from .networks import Network, front, harmless, load, train
    from .perturbations import (
        Key,
        Perturbed,
        decoy,
        family,
        harmless_noise,
        keyed,
        largest,
        least_harmful,
        perturb,
        scaling_attack,
    )
    from .progress import progress_bar
    from .report.demo import demo
    from .report.network_report import Report, write_report
    from .solvers import Certificate
    from .subspaces import (
        Mask,
        PixelEnergy,
        Split,
        Subspace,
        TangentSpaces,
        Window,
        mask,
        nullspace,
        pixel_energy,
        rowspace,
        smallest_window,
        soft_dimension,
        span,
        spectrum,
    )
    from .web import app

__version__ = "0.1.0"

__all__ = [
    "Acceptance",
    "Audit",
    "BlindspaceError",
    "Certificate",
    "Clean",
    "Evidence",
    "Key",
    "LinearMap",
    "Manifold",
    "Mask",
    "Network",
    "OnOff",
    "Perturbed",
    "PixelEnergy",
    "Report",
    "ResizeReference",
    "Split",
    "Subspace",
    "TangentSpaces",
    "Through",
    "VisibleComponent",
    "Window",
    "accept",
    "app",
    "audit",
    "bench",
    "blind_energy",
    "clean_preprocessor",
    "clean_resize",
    "compare_attributions",
    "confined",
    "confined_classifier",
    "data",
    "decoy",
    "demo",
    "export_clean",
    "exposure",
    "family",
    "fgsm",
    "from_module",
    "front",
    "harmless",
    "harmless_noise",
    "harmless_polyhedron",
    "harmless_set",
    "identify",
    "identify_resizer",
    "inspect",
    "inspect_collection",
    "inspect_resize",
    "keyed",
    "largest",
    "latent",
    "leakage",
    "learn",
    "least_harmful",
    "level_set",
    "load",
    "local",
    "manifold",
    "mask",
    "minimal_norm",
    "mislabel",
    "mislabel_set",
    "nes",
    "nonlinearities",
    "nullspace",
    "on_off",
    "perturb",
    "pgd",
    "pixel_energy",
    "progress_bar",
    "protect",
    "read_set",
    "reproduce",
    "rowspace",
    "scaling_attack",
    "simba",
    "smallest_window",
    "soft_dimension",
    "span",
    "sparse",
    "spectrum",
    "testing",
    "through",
    "train",
    "units",
    "verify",
    "write_report",
]

_ROOMS = {
    "attacks": "fgsm latent minimal_norm nes pgd simba sparse",
    "collections": "inspect_collection protect",
    "errors": "BlindspaceError",
    "evidence": "Acceptance Audit Evidence ResizeReference accept audit blind_energy clean_resize exposure identify "
    "identify_resizer inspect inspect_resize leakage verify",
    "experiments.runner": "reproduce",
    "integrations": "Clean VisibleComponent clean_preprocessor compare_attributions confined confined_classifier "
    "export_clean",
    "invariances": "Through harmless_polyhedron harmless_set level_set local nonlinearities through units",
    "learning": "learn mislabel mislabel_set read_set",
    "manifolds": "Manifold OnOff manifold on_off",
    "maps": "LinearMap from_module",
    "networks": "Network front harmless load train",
    "perturbations": "Key Perturbed decoy family harmless_noise keyed largest least_harmful perturb scaling_attack",
    "progress": "progress_bar",
    "report.demo": "demo",
    "report.network_report": "Report write_report",
    "solvers": "Certificate",
    "subspaces": "Mask PixelEnergy Split Subspace TangentSpaces Window mask nullspace pixel_energy rowspace "
    "smallest_window soft_dimension span spectrum",
    "web": "app",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}
"""The sub-package that each name comes from."""


def __getattr__(name: str) -> Any:
    if name in ("bench", "data", "testing"):
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
