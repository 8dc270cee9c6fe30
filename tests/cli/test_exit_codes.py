"""Exit codes: 1 is a "no" and nothing else, 2 bad input or what the machine cannot do, 70 a fault of the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import blindspace as bs
from blindspace.cli.commands import Runnable, as_command
from blindspace.cli.main import run
from blindspace.errors import BlindspaceError, TooLargeError, ValueRangeError, WithdrawnError

Capture = pytest.CaptureFixture[str]

SOURCE = str(Path(bs.__file__).parent.parent)


def failing(error: BaseException) -> Callable[[str], Runnable]:
    """A loader of one command that raises an error."""

    def audit(model: str) -> None:
        raise error

    return lambda name: as_command(audit, name)


def torch_without_memory() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    return caught.value


CODES = {
    "no": (WithdrawnError("the space is withdrawn"), 1, "the space is withdrawn"),
    "bad input": (ValueRangeError("size must be positive"), 2, "size must be positive"),
    "memory": (MemoryError(), 2, "out of memory"),
    "torch's memory": (torch_without_memory(), 2, "out of memory"),
    "disk": (OSError(28, "No space left on device", "y.npz"), 2, "y.npz: No space left"),
    "interrupted": (KeyboardInterrupt(), 2, "interrupted"),
    "unexpected": (ZeroDivisionError("division by zero"), 70, "unexpected error, ZeroDivisionError: division by zero;"),
    "without a message": (AssertionError(), 70, "unexpected error, AssertionError;"),
    "of many lines": (RuntimeError("first\nsecond"), 70, "RuntimeError: first;"),
    "end of the process": (SystemExit(1), 70, "SystemExit: 1;"),
    "recursion": (RecursionError("maximum recursion depth exceeded"), 70, "RecursionError"),
}


@pytest.mark.parametrize("case", CODES)
def test_every_error_has_its_code_and_one_line(capsys: Capture, case: str) -> None:
    error, code, fragment = CODES[case]
    assert run(["audit", "mnist-mlp"], failing(error)) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("blindspace: ")
    assert fragment in err
    assert ("please report it" in err) == (code == 70)


@pytest.mark.parametrize("arguments", [["--debug", "audit", "x"], ["audit", "--debug", "x"], ["audit", "x", "--debug"]])
def test_debug_prints_the_traceback_wherever_it_stands(capsys: Capture, arguments: list[str]) -> None:
    assert run(arguments, failing(ZeroDivisionError())) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("blindspace: unexpected error")
    assert run(arguments, failing(BlindspaceError("no"))) == 2


def test_debug_after_two_dashes_is_a_word_like_others(capsys: Capture) -> None:
    assert run(["audit", "--", "--debug"], failing(ZeroDivisionError())) == 70
    assert "Traceback" not in capsys.readouterr().err


NETWORK = """
import sys
from torch import nn

class Net(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(256, 10))
        self.error = error

    def forward(self, x):
        if x.dtype.is_floating_point and type(x).__name__ == "Tensor" and float(x.max()) == 1.0:
            sys.exit(1) if self.error == "exit" else [][0]
        return self.net(x)

def make(error):
    return Net(error)
"""


@pytest.mark.parametrize(("error", "workers"), [("exit", 0), ("raise", 1)])
def test_a_worker_that_fails_is_no_no(tmp_path: Path, error: str, workers: int) -> None:
    """A network whose code raises, or ends the process with 1, at one picture alone: the white one."""
    (tmp_path / "failing_network.py").write_text(NETWORK)
    (tmp_path / "src").mkdir()
    Image.fromarray(np.full((32, 32, 3), 255, np.uint8)).save(tmp_path / "src/white.png")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "blindspace", "protect", str(tmp_path / "src"), str(tmp_path / "dst"), "--debug"),
            *("-m", f"failing_network:make[error={error}]", "--random-weights", "--input-shape", "3x32x32"),
            *("--size", "0", "--workers", str(workers)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([SOURCE, str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert f"{'SystemExit' if error == 'exit' else 'IndexError'}" in done.stderr.splitlines()[-1]
    assert 'failing_network.py", line' in done.stderr, "the traceback reaches into the worker"
    assert not (tmp_path / "dst/manifest.json").exists()


def test_an_incomplete_installation_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')")
    done = subprocess.run(
        [sys.executable, "-m", "blindspace", "audit", "mnist-mlp"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), SOURCE])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr == "blindspace: the installation is incomplete: no typer here; install blindspace again\n"


@pytest.mark.parametrize(
    ("closed", "command"),
    [
        ("stdout", "audit mnist-mlp --no-layers"),
        ("reader", "audit mnist-mlp --no-layers"),
        ("stdout", "--help"),
        ("reader", "--help"),
        ("reader", "perturb --help"),
    ],
)
def test_output_that_nobody_reads(closed: str, command: str) -> None:
    """``blindspace … | head -1``, whose reader ends first; and ``>&-``, by which a shell closes the output."""
    ends, begins = os.pipe()
    os.close(ends)
    done = subprocess.run(
        [sys.executable, "-m", "blindspace", *command.split()],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCE},
        stdout=begins,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=(lambda: os.close(1)) if closed == "stdout" else None,
    )
    os.close(begins)
    assert (done.returncode, done.stderr) == (0 if closed == "stdout" else 141, "")


def test_json_to_a_pipe_leaves_the_pipe(tmp_path: Path) -> None:
    """As in ``--json >(jq .)``, whose name is that of a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    assert run(["audit", "mnist-mlp", "--no-layers", "--json", str(pipe)]) == 0
    reader.join(timeout=60)
    assert json.loads(heard[0])["front"]["dim"] == 528
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_memory_that_runs_out_is_an_error_of_ours_in_python_too() -> None:

    def allocate(*_: object, **__: object) -> None:
        torch.empty(1 << 50)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blindspace.networks._front.nullspace", allocate)
        with pytest.raises(TooLargeError, match=r"memory does not suffice \(.*\); give a smaller input shape"):
            bs.harmless(bs.load("mnist-mlp"))
        patch.setattr("blindspace.networks._front.nullspace", lambda *_, **__: [][0])
        with pytest.raises(IndexError):
            bs.harmless(bs.load("mnist-mlp"))
