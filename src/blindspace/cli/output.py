"""What every command writes: tables, JSON beside them, and a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console

from ..files import writing
from ..progress import QUIET_FOR, Progress, progress_bar


class Screen(Console):
    """A console whose reader may go away, such as ``head``."""

    def on_broken_pipe(self) -> None:
        """Raise the error of the system; Rich would end the process with 1, which is the code of a "no".

        Raises:
            BrokenPipeError: Always.
        """
        raise BrokenPipeError


def console(json_path: str | None) -> Console:
    """The console that tables are printed to: standard error where standard output carries JSON."""
    screen = Screen(stderr=json_path == "-", highlight=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = 120  # a file or a pipe has no width of its own
    return screen


def write_json(result: dict[str, Any], json_path: str | None) -> None:
    """Write the result as JSON if a path was given; a file is written whole or not at all.

    Raises:
        FileError: the file cannot be written.
    """
    if json_path is None:
        return
    text = json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    if json_path == "-":
        sys.stdout.write(text)
        return
    with writing(json_path) as temporary:
        temporary.write_text(text)


def progress(
    title: str, screen: Console | None = None, quiet_for: float = QUIET_FOR
) -> AbstractContextManager[Progress]:
    """Show a progress bar with the remaining time, on a terminal only. As ``progress_bar``."""
    return progress_bar(title, screen or Screen(stderr=True), quiet_for)
