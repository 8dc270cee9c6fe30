"""The code of docs/manifolds.md runs as it stands."""

from __future__ import annotations

from pathlib import Path

from pages import output_of


def test_the_page_runs(tmp_path: Path) -> None:
    assert output_of("manifolds.md", tmp_path).startswith("16 784\n")
