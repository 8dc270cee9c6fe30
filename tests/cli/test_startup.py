"""How the program starts: commands imported on demand, little imported before, Ctrl-C at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blindspace.cli.commands import NAMES, help_line, load_command
from processes import start

HEAVY = ("torch", "numpy", "scipy", "PIL", "matplotlib")


@pytest.mark.parametrize("name", NAMES)
def test_the_line_of_help_is_that_of_the_command(name: str) -> None:
    told = (load_command(name).help or "").split("\n\n")[0]
    assert " ".join(told.split()) == help_line(name)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["no-such-command"]])
def test_nothing_heavy_is_imported_to_say_what_there_is(arguments: list[str]) -> None:
    code = (
        "import sys; from blindspace.cli.main import run; code = run(sys.argv[1:]); "
        f"assert not {set(HEAVY)} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, timeout=60, check=False)
    assert done.returncode == (2 if arguments == ["no-such-command"] else 0)
    assert done.stderr.count(b"\n") == done.returncode // 2


def test_an_audit_imports_no_more_than_it_needs() -> None:
    spared = {
        "torch._dynamo",
        "scipy.stats",
        "scipy.signal",
        "scipy.optimize",
        "matplotlib",
        "jinja2",
        "onnx",
        "rich.progress",
    }
    code = (
        "import sys; from blindspace.cli.main import run; assert run(['audit', 'mnist-mlp', '--no-layers']) == 0; "
        f"print(sorted({spared} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.strip() == "[]"


def mapped(program: subprocess.Popen[bytes]) -> str:
    try:
        return Path(f"/proc/{program.pid}/maps").read_text()
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
@pytest.mark.parametrize("library", ["libtorch_cpu", "libtorch_python"])
def test_ctrl_c_while_torch_is_being_imported_is_one_line(library: str) -> None:
    program = start("audit", "mnist-mlp")
    while library not in mapped(program) and program.poll() is None:
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 2
    assert len(err.decode().strip().splitlines()) == 1
    assert err.startswith(b"blindspace: interrupted")
