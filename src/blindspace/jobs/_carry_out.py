"""All shards of a job: those that an earlier run has finished are kept, and the rest is done on an engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import UnknownNameError, integer, shown
from . import local
from .contract import Done, Job, Shard
from .journal import Journal

ENGINES = ("local", "ray")

T = TypeVar("T")

Report = Callable[[int, int, str], None]
"""Called with the number of shards done, the number of all shards, and a remark."""


def carry_out(
    job: Job,
    shards: Sequence[Shard],
    settings: Mapping[str, Any],
    close: Callable[[Journal, int, float], T],
    closing: Sequence[str],
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    report: Report | None = None,
) -> T:
    """Do all shards of a job into its target, which is locked meanwhile.

    Args:
        job: The job.
        shards: All of its shards, whether done or not.
        settings: Plain values for JSON that all results depend on; those of an earlier run must be equal.
        close: Called in the end with the journal, the number of shards that were done before and the speed in items per
            second, 0 if nothing was left to do; writes the files ``closing`` and returns the result.
        closing: Names of the files that ``close`` writes; they are deleted before new shards are done.
        workers: Number of processes, one per core if None; with 0, this process does the work.
        engine: One of ``ENGINES``. On Ray, all nodes must see the folders under the same paths.
        address: Address of a Ray cluster; if None, one is started on this machine.
        report: Called after each shard.

    Raises:
        FileError: The target holds other content, is in use or cannot be written to; the settings differ.
        ValueRangeError: The number of workers is negative.
        UnknownNameError: No engine has that name.
        MissingExtraError: A library is not installed.
        BlindspaceError: A worker cannot do its work.
    """
    check_engine(engine, workers)
    journal = Journal(job.target)
    with journal.locked():
        journal.begin(settings)
        journal.sweep()
        done = journal.finished(shards)
        todo = [shard for shard in shards if shard.id not in done]
        before, items, started = len(done), 0, time.monotonic()

        def tell(result: Done) -> None:
            nonlocal items
            done.add(result.shard)
            items += result.items
            if report is not None:
                report(len(done), len(shards), f"{items / (time.monotonic() - started):.3g} images/s")

        if todo:
            for name in closing:
                (job.target / name).unlink(missing_ok=True)
            if report is not None:
                report(before, len(shards), "starting")
            work(job, todo, tell, workers=workers, engine=engine, address=address)
        seconds = time.monotonic() - started
        journal.sweep()
        return close(journal, before, items / seconds if todo else 0.0)


def check_engine(engine: object, workers: object) -> None:
    """Refuse an engine or a number of workers that does not exist, before the work is planned.

    Raises:
        UnknownNameError: No engine has that name.
        ValueRangeError: The number of workers is negative or no number.
    """
    if not isinstance(engine, str) or engine not in ENGINES:
        raise UnknownNameError(f"no engine is called {shown(engine)}; there are {', '.join(ENGINES)}")
    if workers is not None:
        integer(workers, "the number of workers", 0)


def work(
    job: Job,
    todo: Sequence[Shard],
    tell: Callable[[Done], None],
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> None:
    """Do some shards of a job on an engine; what is finished already, and what is left behind, is the caller's matter.

    Args:
        job: The job.
        todo: The shards to do.
        tell: Called after each shard.
        workers: As for ``carry_out``.
        engine: As for ``carry_out``.
        address: As for ``carry_out``.

    Raises:
        MissingExtraError: A library is not installed.
        BlindspaceError: A worker cannot do its work.
    """
    if engine == "ray":
        from .cluster import run_on_ray

        run_on_ray(job, todo, workers or None, address, tell)
    elif workers == 0:
        local.run_here(job, todo, tell)
    else:
        local.run(job, todo, workers or len(os.sched_getaffinity(0)), tell)
