"""The README is short, and names every command."""

from __future__ import annotations

import pages
from blindspace.cli.commands import NAMES as COMMANDS


def test_it_can_be_read_at_one_go() -> None:
    assert len(pages.text("README.md").splitlines()) <= 150


def test_it_names_every_command() -> None:
    table = pages.first_column("README.md", "| command | what it does |")
    assert sorted(line.split()[1] for line in table if line.startswith("blindspace ")) == sorted(COMMANDS)
