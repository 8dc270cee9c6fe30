"""The code of docs/invariances.md runs as it stands."""

from __future__ import annotations

from pathlib import Path

from pages import output_of


def test_the_page_runs(tmp_path: Path) -> None:
    output_of("invariances.md", tmp_path)
