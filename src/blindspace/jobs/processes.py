"""Child processes: each ends with its parent, its warnings are given by the parent and its errors raised there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch

from ..errors import BlindspaceError, BlindspaceWarning, first_line, is_out_of_memory

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start(work: Callable[..., None], *arguments: Any) -> tuple[SpawnProcess, Connection]:
    """Start a process of one thread that runs ``work(*arguments, connection)``.

    Args:
        work: A function of a module; it calls ``prepare`` first.
        arguments: Its arguments; they are sent to the process.

    Returns:
        The process, and this end of a connection to it, which ends with the process.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(*arguments, theirs), daemon=True)
    with _alone_with_ctrl_c(), _one_thread():
        process.start()
    theirs.close()  # so that the connection ends with the process
    return process, ours


def prepare(connection: Connection) -> None:
    """Make this process end with its parent and send each of its warnings, once, as a string."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    said: set[str] = set()

    def tell(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, BlindspaceWarning) and str(message) not in said:
            said.add(str(message))
            connection.send(str(message))

    warnings.showwarning = tell  # type: ignore[assignment]


def sendable(error: BaseException) -> Exception:
    """An error as it is sent to the parent; one that nobody expected keeps its traceback as a note."""
    if isinstance(error, BlindspaceError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    if is_out_of_memory(error):
        return BlindspaceError("out of memory; take fewer --workers or smaller pictures")
    told = RuntimeError(f"{type(error).__name__} in a worker: {first_line(error)}")
    return noted(told, "".join(traceback.format_exception(error)))


def noted(error: Exception, note: str) -> Exception:
    """The error with a note, which its traceback shows."""
    error.add_note(note)
    return error


def received(answer: Any) -> Any:
    """What a process has sent, if it is a result: its errors are raised, its warnings given and None returned.

    Raises:
        BlindspaceError, OSError: The process met it.
        RuntimeError: The process met an error that nobody expected.
    """
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, str):
        warnings.warn(answer, BlindspaceWarning, stacklevel=3)
        return None
    return answer


@contextmanager
def one_thread() -> Iterator[None]:
    """This process computes on one thread, as workers do, while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _alone_with_ctrl_c() -> Iterator[None]:
    """Processes started here do not get Ctrl-C, which a terminal sends to all; the parent ends them."""
    resource_tracker.ensure_running()  # when it starts, it lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started here have libraries of one thread, whose sums do not depend on the number of cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(2)
