"""The same work on a Ray cluster, by Ray Data: shards as rows, workers as a pool of actors.

The results and the record of a shard are written to the destination, which all nodes must see under the same path;
nothing else is sent back. If a node is lost, other nodes repeat the shards that it was working on.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from ..errors import BlindspaceError, MissingExtraError, first_line
from .journal import Done, Journal
from .source import Shard
from .work import Job, Worker

ROUNDS = 3
"""Number of times that unfinished shards are handed to the cluster."""


def run_on_ray(
    job: Job, shards: Sequence[Shard], workers: int | None, address: str | None, report: Callable[[Done], None]
) -> None:
    """All shards by actors of a Ray cluster, each on one core.

    Args:
        job: The job, with the key in it; it is sent to every node.
        shards: The shards to protect.
        workers: Number of actors; the number of the cluster's cores if None.
        address: Address of the cluster; if None, the one in use, else a new one on this machine.
        report: Called after each shard.

    Raises:
        MissingExtraError: Ray is not installed.
        BlindspaceError: As ``Worker``; no cluster answers at the address, or it leaves shards unfinished.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A thread of Ray Data that outlives the shutdown below would otherwise connect to the cluster again.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("the ray engine needs Ray Data; pip install 'blindspace[ray]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    own = not ray.is_initialized()
    if own:
        cores = workers if address is None else None
        try:
            _reach(address)
            ray.init(address, num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (OSError, RuntimeError, ValueError) as error:
            place = address or "this machine"
            raise BlindspaceError(f"no Ray cluster can be had at {place}: {first_line(error)}") from error
    try:
        todo = {shard.id: shard for shard in shards}
        journal = Journal(job.target)
        for _ in range(ROUNDS):
            for row in _rows(job, list(todo.values()), workers or _cores(ray)):
                if row["error"]:
                    raise BlindspaceError(row["error"])
                if row["id"] in todo and journal.is_recorded(todo[row["id"]]):
                    report(journal.done(todo.pop(row["id"])))
            if not todo:
                return
        raise BlindspaceError(
            f"the cluster leaves {len(todo)} shards undone; all its nodes must see {job.target} as this one does"
        )
    finally:
        if own:
            _settle()
            ray.shutdown()


def _settle() -> None:
    """Wait for the threads of Ray Data, since a call from one of them after the shutdown ends the process."""
    for thread in threading.enumerate():
        if thread.name.startswith("StreamingExecutor"):
            thread.join(timeout=60)


def _cores(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _reach(address: str | None) -> None:
    """Check that something listens at the address: Ray itself would wait without end.

    Raises:
        OSError: Nothing listens there.
        ValueError: The port is not a number.
    """
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _rows(job: Job, shards: Sequence[Shard], workers: int) -> Any:
    """The reports of the actors, one per finished shard."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"shard": json.dumps(asdict(shard))} for shard in shards]
    # One block per shard, since Ray repeats lost work by blocks.
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(rows)))
    return data.map_batches(_Actor, fn_constructor_args=(job,), batch_size=1, compute=pool, num_cpus=1).iter_rows()


class _Actor:
    """A worker of the pool."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.job = job
        self.worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        shards = [Shard(**json.loads(text)) for text in batch["shard"]]
        error = ""
        try:
            self.worker = self.worker or Worker(self.job)
            for shard in shards:
                self.worker.do(shard)
        except BlindspaceError as raised:
            # Returned as a value, since Ray wraps a raised exception in pages of its own traces.
            error = str(raised)
        return {"id": [shard.id for shard in shards], "error": [error] * len(shards)}
