"""Evidence: what can be claimed of images and networks afterwards, from verification to steganalysis.

Names are imported when they are first used: an audit needs neither perturbations nor image statistics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._audit import Audit, Response, audit
    from ._conditional_mean import Canonical, canonical, conditional_mean
    from ._fingerprint import fingerprint
    from ._identify import Identification, Probe, identify, probe
    from ._inspect import Inspection, Reference, inspect
    from ._leakage import Leakage, leakage
    from ._similarity import Similarity, similarity
    from ._verify import Evidence, verify
    from .acceptance import Acceptance, accept
    from .energy import Energies, blind_energy
    from .prior import Prior
    from .resizes.cleaning import Cleaned, clean_resize
    from .resizes.detection import ResizeInspection, ResizeReference, inspect_resize
    from .resizes.exposure import Exposure, exposure
    from .resizes.identification import ResizerIdentification, ResizerScore, identify_resizer

__all__ = [
    "Acceptance",
    "Audit",
    "Canonical",
    "Cleaned",
    "Energies",
    "Evidence",
    "Exposure",
    "Identification",
    "Inspection",
    "Leakage",
    "Prior",
    "Probe",
    "Reference",
    "ResizeInspection",
    "ResizeReference",
    "ResizerIdentification",
    "ResizerScore",
    "Response",
    "Similarity",
    "accept",
    "audit",
    "blind_energy",
    "canonical",
    "clean_resize",
    "conditional_mean",
    "exposure",
    "fingerprint",
    "identify",
    "identify_resizer",
    "inspect",
    "inspect_resize",
    "leakage",
    "probe",
    "similarity",
    "verify",
]

_NAMES = {
    "_audit": "Audit Response audit",
    "_conditional_mean": "Canonical canonical conditional_mean",
    "_fingerprint": "fingerprint",
    "_identify": "Identification Probe identify probe",
    "_inspect": "Inspection Reference inspect",
    "_leakage": "Leakage leakage",
    "_similarity": "Similarity similarity",
    "_verify": "Evidence verify",
    "acceptance": "Acceptance accept",
    "energy": "Energies blind_energy",
    "prior": "Prior",
    "resizes.cleaning": "Cleaned clean_resize",
    "resizes.detection": "ResizeInspection ResizeReference inspect_resize",
    "resizes.exposure": "Exposure exposure",
    "resizes.identification": "ResizerIdentification ResizerScore identify_resizer",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
