"""Evidence: what can be claimed of images and networks afterwards, from verification to steganalysis."""

from ._audit import Audit, audit
from ._conditional_mean import Canonical, canonical, conditional_mean
from ._fingerprint import fingerprint
from ._identify import Identification, Probe, identify, probe
from ._inspect import Inspection, Reference, inspect
from ._leakage import Leakage, leakage
from ._similarity import Similarity, similarity
from ._verify import Evidence, verify
from .energy import Energies, blind_energy
from .prior import Prior

__all__ = [
    "Audit",
    "Canonical",
    "Energies",
    "Evidence",
    "Identification",
    "Inspection",
    "Leakage",
    "Prior",
    "Probe",
    "Reference",
    "Similarity",
    "audit",
    "blind_energy",
    "canonical",
    "conditional_mean",
    "fingerprint",
    "identify",
    "inspect",
    "leakage",
    "probe",
    "similarity",
    "verify",
]
