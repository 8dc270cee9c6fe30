"""Worker processes on this machine: the parent hands out shards; nothing else is shared.

A worker that is killed is replaced and its shard done again; when the parent is killed the workers end too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from ..errors import BlindspaceError, BlindspaceWarning
from .journal import Done
from .source import Shard
from .work import Job, Worker

ATTEMPTS = 3
"""Number of workers that may be killed during one shard before it is given up."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_here(job: Job, shards: Sequence[Shard], report: Callable[[Done], None]) -> None:
    """All shards in this process."""
    worker = Worker(job)
    for shard in shards:
        report(worker.do(shard))


def run(job: Job, shards: Sequence[Shard], workers: int, report: Callable[[Done], None]) -> None:
    """All shards by worker processes of one thread each.

    Args:
        job: The job.
        shards: The shards to protect.
        workers: Largest number of processes.
        report: Called after each shard.

    Raises:
        BlindspaceError: As ``Worker``; or workers were killed during one shard repeatedly.
    """
    todo = deque(shards)
    killed: Counter[str] = Counter()
    crew = _Crew(job)
    try:
        for _ in range(min(workers, len(todo))):
            crew.hire(todo.popleft())
        while crew.busy:
            for connection in wait(list(crew.busy)):
                assert isinstance(connection, Connection)
                shard = crew.busy[connection]
                try:
                    answer = connection.recv()
                except (EOFError, ConnectionResetError):
                    code = crew.dismiss(connection)
                    killed[shard.id] += 1
                    if code >= 0 or killed[shard.id] == ATTEMPTS:
                        raise BlindspaceError(
                            f"a worker ended at {shard.inputs[0]} "
                            + (f"{ATTEMPTS} times by signal {-code}" if code < 0 else f"with code {code}")
                            + "; if memory ran out, take fewer --workers; what is done stays done"
                        ) from None
                    crew.hire(shard)
                    continue
                if isinstance(answer, str):
                    warnings.warn(answer, BlindspaceWarning, stacklevel=2)
                    continue
                if isinstance(answer, BlindspaceError):
                    raise answer
                report(answer)
                if todo:
                    crew.give(connection, todo.popleft())
                else:
                    crew.dismiss(connection)
    finally:
        crew.stop()


class _Crew:
    """The worker processes and the shard that each is working on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.context = multiprocessing.get_context("spawn")
        self.busy: dict[Connection, Shard] = {}
        self.processes: dict[Connection, SpawnProcess] = {}

    def hire(self, shard: Shard) -> None:
        """A new worker with its first shard."""
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(self.job, theirs), daemon=True)
        with _alone_with_ctrl_c(), _one_thread():
            process.start()
        theirs.close()  # so that the pipe ends with the worker
        self.processes[ours] = process
        self.give(ours, shard)

    def give(self, connection: Connection, shard: Shard) -> None:
        """Hand out the next shard; a dead worker is noticed when its answer is read."""
        self.busy[connection] = shard
        with suppress(OSError):
            connection.send(shard)

    def dismiss(self, connection: Connection) -> int:
        """Release a worker and return its exit code, negative if it was killed."""
        del self.busy[connection]
        connection.close()
        process = self.processes.pop(connection)
        process.join()
        return process.exitcode or 0

    def stop(self) -> None:
        """Kill the remaining workers; their unfinished shards are not recorded."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.join()


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


def _work(job: Job, connection: Connection) -> None:
    """The loop of a worker process, until its parent has no more shards or has ended."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    said: set[str] = set()

    def tell(message: Warning | str, category: type[Warning], *_: object) -> None:
        if issubclass(category, BlindspaceWarning) and str(message) not in said:
            said.add(str(message))
            connection.send(str(message))

    warnings.showwarning = tell  # type: ignore[assignment]
    try:
        shard = connection.recv()
        worker = Worker(job)
        while True:
            connection.send(worker.do(shard))
            shard = connection.recv()
    except BlindspaceError as error:
        connection.send(error)
    except MemoryError:
        connection.send(BlindspaceError("out of memory; take fewer --workers or smaller pictures"))
    except (EOFError, OSError):
        sys.exit(0)  # nothing more to do


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
