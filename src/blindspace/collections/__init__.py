"""Whole collections of pictures, in folders, archives and tables: protected, or inspected."""

from ._check import Checked, check
from ._inspect_collection import inspect_collection
from ._protect import protect, salt_of
from .inspect_settings import InspectSettings
from .inspected import Inspected
from .manifest import Totals
from .protected import Summary
from .protector import Settings

__all__ = [
    "Checked",
    "InspectSettings",
    "Inspected",
    "Settings",
    "Summary",
    "Totals",
    "check",
    "inspect_collection",
    "protect",
    "salt_of",
]
