"""Everything runs where the images lie, as on the CPU: on the second device, and on CUDA where there is one.

They run in processes of their own, since a device of one's own stays registered in a process for good.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import blindspace as bs
from blindspace.cli.commands import NAMES
from blindspace.cli.main import run

NAME = "elsewhere"
"""The second device of ``second_device.py``."""

SCRIPT = Path(__file__).with_name("where_images_lie.py")


COMPUTES_NOTHING = ("data",)
"""Commands that fetch files."""


@pytest.mark.parametrize("command", NAMES)
def test_every_command_that_computes_takes_a_device(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run([command, "--device", "nowhere"])  # before anything else, also before an argument that is missing
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert ("there is no device 'nowhere'" in error) is (command not in COMPUTES_NOTHING)


@pytest.mark.parametrize("command", ["app", "audit", "reproduce"])
def test_a_device_without_values_is_refused(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--device", "meta"]) == 2
    assert "tensors on the device 'meta' have no values" in capsys.readouterr().err


@pytest.mark.parametrize(
    "function",
    [
        lambda: bs.demo(Path("never-made"), device="nowhere"),
        lambda: bs.app(["never-loaded"], device="nowhere"),
        lambda: bs.train("mlp@mnist", Path("never-made"), device="nowhere"),
    ],
    ids=["demo", "app", "train"],
)
def test_functions_refuse_a_device_before_anything_else(function: Callable[[], object]) -> None:
    with pytest.raises(bs.BlindspaceError, match="there is no device 'nowhere'"):
        function()
    assert not Path("never-made").exists()


@pytest.mark.parametrize(
    "registries",
    [
        "maps and makers",
        "measurements and commands",
        pytest.param(
            "tabs and experiments",
            marks=pytest.mark.skipif(find_spec("gradio") is None, reason="Gradio is not installed"),
        ),
    ],
)
@pytest.mark.parametrize(
    "device", [NAME, pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
)
def test_everything_runs_where_the_images_lie(registries: str, device: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), registries, device]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["compared"] > 5
    assert found["wrong"] == {}
