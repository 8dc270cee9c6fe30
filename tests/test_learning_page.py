"""The code of docs/learning.md runs as it stands, and its tables name what there is."""

from __future__ import annotations

from pathlib import Path

from blindspace.learning import ATTACKS, CONTROLS
from pages import DOCS, output_of

TEXT = (DOCS / "learning.md").read_text("utf-8")


def test_the_page_runs(tmp_path: Path) -> None:
    assert output_of("learning.md", tmp_path).startswith("learnt from perturbed noise and from noise:")


def test_every_attack_and_control_is_named() -> None:
    for name, rule in ATTACKS.items():
        assert f"| `{name}` |" in TEXT
        assert f"{rule.grey:g}, {rule.colour:g}" in TEXT
    assert all(f"`{name}`" in TEXT for name in CONTROLS)
