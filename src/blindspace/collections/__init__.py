"""Whole collections of pictures, in folders, archives and tables, and their protection."""

from ._check import Checked, check
from ._protect import protect, salt_of
from .protected import Summary
from .protector import Settings

__all__ = ["Checked", "Settings", "Summary", "check", "protect", "salt_of"]
