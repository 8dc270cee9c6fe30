"""Worker processes on this machine: the parent hands out shards; nothing else is shared.

A worker that is killed is replaced and its shard done again; when the parent is killed the workers end too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from ..errors import BlindspaceError
from .contract import Done, Job, Shard, Worker
from .processes import prepare, received, sendable, start

ATTEMPTS = 3
"""Number of workers that may be killed during one shard before it is given up."""


def run_here(job: Job, shards: Sequence[Shard], report: Callable[[Done], None]) -> None:
    """All shards in this process."""
    worker = job.worker()
    for shard in shards:
        report(worker.do(shard))


def run(job: Job, shards: Sequence[Shard], workers: int, report: Callable[[Done], None]) -> None:
    """All shards by worker processes of one thread each.

    Args:
        job: The job.
        shards: The shards to do.
        workers: Largest number of processes.
        report: Called after each shard.

    Raises:
        BlindspaceError: As ``Job.worker`` and ``Worker.do``; or workers were killed during one shard repeatedly.
        RuntimeError: A worker met an error that nobody expected.
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
                            f"a worker ended at {shard.title} "
                            + (f"{ATTEMPTS} times by signal {-code}" if code < 0 else f"with code {code}")
                            + "; if memory ran out, take fewer --workers; what is done stays done"
                        ) from None
                    crew.hire(shard)
                    continue
                done = received(answer)
                if done is None:
                    continue
                report(done)
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
        self.busy: dict[Connection, Shard] = {}
        self.processes: dict[Connection, SpawnProcess] = {}

    def hire(self, shard: Shard) -> None:
        """A new worker with its first shard."""
        process, connection = start(_work, self.job)
        self.processes[connection] = process
        self.give(connection, shard)

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


def _work(job: Job, connection: Connection) -> None:
    """The loop of a worker process, until its parent has no more shards or has ended."""
    torch.set_num_threads(1)
    prepare(connection)
    worker: Worker | None = None
    with suppress(EOFError, OSError):
        while True:
            shard = connection.recv()
            try:
                worker = worker or job.worker()
                answer: Done | Exception = worker.do(shard)
            except (Exception, SystemExit) as error:  # a network's own code may end the process
                answer = sendable(error)
            connection.send(answer)
