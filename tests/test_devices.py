"""Everything runs where the images lie, as on the CPU: on the second device, and on CUDA where there is one.

They run in processes of their own, since a device of one's own stays registered in a process for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

NAME = "elsewhere"
"""The second device of ``second_device.py``."""

SCRIPT = Path(__file__).with_name("where_images_lie.py")


@pytest.mark.parametrize("registries", ["maps and makers", "measurements and commands"])
@pytest.mark.parametrize(
    "device", [NAME, pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
)
def test_everything_runs_where_the_images_lie(registries: str, device: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), registries, device]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["compared"] > 10
    assert found["wrong"] == {}
