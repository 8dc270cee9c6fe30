"""Floor 6: what can be claimed afterwards."""

from .verify import Evidence, verify

__all__ = ["Evidence", "verify"]
