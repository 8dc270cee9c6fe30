"""How long computations report their progress: the type of the callback, and the bar that shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[int, int, str], None]
"""Called with the number of steps done, the number of steps in all, and what comes next."""

QUIET_FOR = 2.0
"""Seconds before a bar appears on a terminal."""

REFRESH = 0.1
"""Seconds between two updates of a bar in a notebook."""


@contextmanager
def progress_bar(title: str = "", screen: Console | None = None, quiet_for: float = QUIET_FOR) -> Iterator[Progress]:
    """Show a progress bar on a terminal or in a notebook, and nothing elsewhere; it goes when the work is done.

    Args:
        title: Text beside the bar.
        screen: Console that the bar is drawn on; standard error if None.
        quiet_for: Seconds before the bar appears on a terminal, so that short work shows none.

    Yields:
        What every function of the package takes as ``progress``.

    Examples:
        >>> import blindspace as bs
        >>> with bs.progress_bar("auditing") as progress:
        ...     found = bs.audit("mnist-mlp", progress=progress)
        >>> found.space.dim
        528
    """
    from rich.console import Console

    screen = screen or Console(stderr=True)
    if screen.is_jupyter:
        yield from _in_notebook(title)
    elif screen.is_terminal:
        yield from _on_terminal(title, screen, quiet_for)
    else:
        yield lambda done, total, what: None


def _on_terminal(title: str, screen: Console, quiet_for: float) -> Iterator[Progress]:
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns, console=screen, transient=True)
    task = bar.add_task(title, total=None)
    patience = threading.Timer(quiet_for, bar.start)
    patience.daemon = True
    patience.start()
    try:

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=_told(title, what))

        yield update
    finally:
        patience.cancel()
        bar.stop()


def _in_notebook(title: str) -> Iterator[Progress]:
    """A bar of HTML; those of Rich and tqdm need widgets, which many notebooks and all saved ones lack."""
    ipython: Any = import_module("IPython.display")  # in a notebook it is there
    shown = ipython.display(ipython.HTML(_html(title, 0, 0)), display_id=True)
    last = time.monotonic()
    try:

        def update(done: int, total: int, what: str) -> None:
            nonlocal last
            if done >= total or time.monotonic() - last >= REFRESH:
                last = time.monotonic()
                shown.update(ipython.HTML(_html(_told(title, what), done, total)))

        yield update
    finally:
        shown.update(ipython.HTML(""))


def _html(text: str, done: int, total: int) -> str:
    bar = f"<progress value='{done}' max='{total}'></progress> {done} of {total}" if total else "<progress></progress>"
    return f"{bar} {escape(text)}"


def _told(title: str, what: str) -> str:
    return ": ".join(part for part in (title, what) if part)
