"""Python processes that run a copy of this package, and the processor time that they take."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import BlindspaceError, ValueRangeError

HERE = Path(__file__).parents[2]
"""Folder that holds this copy of the package."""


def of_package(folder: Path) -> Path:
    """Return a folder that holds a copy of the package.

    Raises:
        ValueRangeError: It holds none.
    """
    if not (folder / "blindspace" / "__init__.py").is_file():
        raise ValueRangeError(f"{folder} holds no package blindspace; give the folder src of a checkout")
    return folder


def processor_time(package: Path, task: Sequence[str]) -> tuple[float, str]:
    """The processor time of a Python process with a copy of the package in seconds, and what it printed.

    Args:
        package: Folder that holds the copy.
        task: Arguments of Python.

    Raises:
        BlindspaceError: The process failed; the message holds the last line that it wrote.
    """
    path = os.pathsep.join(filter(None, [str(package.resolve()), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "BLINDSPACE_CACHE_LIMIT": "0"}
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *task], capture_output=True, text=True, env=environment)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["failed without a word"])[-1]
        raise BlindspaceError(f"{' '.join(task[-4:])} failed with the package of {package}: {last}")
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime, done.stdout
