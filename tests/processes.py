"""Programs that tests start, as a terminal would: Ctrl-C reaches them even where the tests themselves ignore it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import blindspace

SOURCE = str(Path(blindspace.__file__).parent.parent)


def _default_sigint() -> None:
    """Undo what a shell does to what it starts in the background, and ``nohup`` and ``trap '' INT`` too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(
    *arguments: object, environment: Mapping[str, str] | None = None, own_session: bool = False
) -> subprocess.Popen[bytes]:
    """Start ``blindspace`` with its outputs in pipes; ``own_session`` makes it the leader of a process group."""
    inherited = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    return subprocess.Popen(
        [sys.executable, "-m", "blindspace", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**inherited, "OMP_NUM_THREADS": "1", "PYTHONPATH": SOURCE, **(environment or {})},
        start_new_session=own_session,
        preexec_fn=_default_sigint,
    )
