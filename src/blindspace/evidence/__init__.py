"""Floor 6: what can be claimed afterwards."""

from .canonical import Canonical, canonical
from .completion import complete
from .energy import Energies, blind_energy
from .fingerprint import fingerprint
from .identify import Identification, Probe, identify, probe
from .inspect import Inspection, Reference, inspect, reference
from .leakage import Leakage, leakage
from .prior import Prior
from .similarity import Similarity, similarity
from .verify import Evidence, verify

__all__ = [
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
