"""The Python code of a page of docs/, run as a reader would run it: all of it, in order, in its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import blindspace as bs

DOCS = Path(__file__).parents[1] / "docs"


def output_of(page: str, folder: Path) -> str:
    """What the code of a page prints; it must end without an error."""
    script = folder / "page.py"
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    script.write_text("\n".join(blocks), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(bs.__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
