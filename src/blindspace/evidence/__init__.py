"""Floor 6: what can be claimed afterwards."""

from .energy import Energies, blind_energy
from .verify import Evidence, verify

__all__ = ["Energies", "Evidence", "blind_energy", "verify"]
