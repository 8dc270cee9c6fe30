"""Tests never touch the cache of whoever runs them, and none depends on how fast the machine is."""

from __future__ import annotations

import gc
import os
import tempfile

import setuptools  # type: ignore[import-untyped] # before pip, after which it refuses to be imported
from hypothesis import settings

from browser import browser as browser  # a fixture of every test

assert setuptools
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

if "BLINDSPACE_HOME" not in os.environ:
    # Before anything is imported, and for the processes that tests start; deleted when this one ends.
    _home = tempfile.TemporaryDirectory(prefix="blindspace-tests-")
    os.environ["BLINDSPACE_HOME"] = _home.name


def pytest_configure() -> None:
    """Look for no garbage while tests are collected: nearly all that is made then stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage from here on among what the tests make, and no longer among 12,000 collected tests."""
    gc.freeze()
    gc.enable()
