"""Tests never touch the cache of whoever runs them."""

from __future__ import annotations

import os
import tempfile

if "BLINDSPACE_HOME" not in os.environ:
    # Before anything is imported, and for the processes that tests start; deleted when this one ends.
    _home = tempfile.TemporaryDirectory(prefix="blindspace-tests-")
    os.environ["BLINDSPACE_HOME"] = _home.name
