"""Floor 6: what can be claimed afterwards."""

from .energy import Energies, blind_energy
from .identify import Identification, Probe, identify, probe
from .verify import Evidence, verify

__all__ = [
    "Energies",
    "Evidence",
    "Identification",
    "Probe",
    "blind_energy",
    "identify",
    "probe",
    "verify",
]
