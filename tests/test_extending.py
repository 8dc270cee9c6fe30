"""The recipes of docs/extending.md run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import blindspace as bs

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bs.__file__).parents[1])}


def test_the_recipes_run(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    script = tmp_path / "recipes.py"
    script.write_text("\n".join(BLOCKS[:-1]), encoding="utf-8")
    done = subprocess.run([sys.executable, script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_recipe_of_an_experiment_runs_alone(tmp_path: Path) -> None:
    """The block is a whole file, and what it declares is an experiment that can be run."""
    script = tmp_path / "stride.py"
    run = "\nfrom blindspace.experiments.runner import run\nrun(EXPERIMENT, 'smoke', Path('results'))\n"
    script.write_text(BLOCKS[-1] + run, encoding="utf-8")
    environment = {**ENVIRONMENT, "BLINDSPACE_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, script], env=environment, cwd=tmp_path, check=True, timeout=300)
    assert {path.name for path in (tmp_path / "results" / "stride").iterdir()} >= {"result.json", "stride.png"}
