"""Floor 7: whole collections of pictures, in folders, archives and tables."""

from .check import Checked, check
from .manifest import Summary
from .protect import ENGINES, protect, salt_of
from .protector import Settings

__all__ = ["ENGINES", "Checked", "Settings", "Summary", "check", "protect", "salt_of"]
