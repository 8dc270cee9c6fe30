"""Floor 6: what can be claimed afterwards."""

from ._audit import Audit, audit
from ._canonical import Canonical, canonical
from ._fingerprint import fingerprint
from ._identify import Identification, Probe, identify, probe
from ._inspect import Inspection, Reference, inspect, reference
from ._leakage import Leakage, leakage
from ._similarity import Similarity, similarity
from ._verify import Evidence, verify
from .conditional_mean import complete
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
    "complete",
    "fingerprint",
    "identify",
    "inspect",
    "leakage",
    "probe",
    "reference",
    "similarity",
    "verify",
]
