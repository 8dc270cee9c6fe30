"""The code of docs/learning.md runs as it stands, and its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import blindspace as bs
from blindspace.learning import ATTACKS, CONTROLS

PAGE = Path(__file__).parents[1] / "docs" / "learning.md"
TEXT = PAGE.read_text("utf-8")


def test_the_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(bs.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("learnt from perturbed noise and from noise:")


def test_every_attack_and_control_is_named() -> None:
    for name, rule in ATTACKS.items():
        assert f"| `{name}` |" in TEXT
        assert f"{rule.grey:g}, {rule.colour:g}" in TEXT
    assert all(f"`{name}`" in TEXT for name in CONTROLS)
