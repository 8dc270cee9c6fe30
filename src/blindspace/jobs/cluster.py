"""The same work on a Ray cluster, by Ray Data: shards as rows, workers as a pool of actors.

The results and the record of a shard are written to the destination, which all nodes must see under the same path;
nothing else is sent back. If a node is lost, other nodes repeat the shards that it was working on.

Ray runs in a process of its own: it waits long for a cluster that does not answer, and when a cluster is lost it ends
the process that has been using it, with exit code 1 and without an exception.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import torch

from ..errors import BlindspaceError, first_line
from ..extras import library
from .contract import Done, Job, Shard, Worker
from .processes import noted, prepare, received, sendable, start

ROUNDS = 3
"""Number of times that unfinished shards are handed to the cluster."""

LOCAL = "local"
"""The address that stands for a new cluster on this machine."""

PATIENCE = 30.0
"""Seconds in which a cluster at a given address must let this program in."""

GRACE = 10.0
"""Seconds in which the process that runs Ray may end by itself."""


def run_on_ray(
    job: Job, shards: Sequence[Shard], workers: int | None, address: str | None, report: Callable[[Done], None]
) -> None:
    """All shards by actors of a Ray cluster, each on one core.

    Args:
        job: The job, with secrets that it needs; it is sent to every node.
        shards: The shards to do.
        workers: Number of actors; the number of the cluster's cores if None.
        address: Address of the cluster; if None, the one that this process uses already, else that in the environment
            variable ``RAY_ADDRESS``, else a new one on this machine. Others that happen to run on this machine are left
            alone.
        report: Called after each shard.

    Raises:
        MissingExtraError: Ray is not installed.
        BlindspaceError: As ``Job.worker`` and ``Worker.do``; no cluster answers at the address, it is lost, or some
            shards are left undone.
        RuntimeError: A worker met an error that nobody expected.
    """
    address = address or _in_use() or os.environ.get("RAY_ADDRESS") or LOCAL
    _reach(address)
    todo = {shard.id: shard for shard in shards}
    process, connection = start(_drive, job, list(shards), workers, address)
    try:
        for answer in _answers(connection):
            if answer == _CONNECTING and address != LOCAL and not connection.poll(PATIENCE):
                raise _nowhere(address, f"it does not answer within {PATIENCE:g} seconds")
            if answer == _END:
                return
            done = job.done(todo[answer]) if answer in todo else None
            if done is not None:
                del todo[answer]
                report(done)
        raise BlindspaceError("the Ray cluster was lost; what is done stays done, and the same command resumes")
    finally:
        process.terminate()  # Ray then ends what it has started
        process.join(GRACE)
        process.kill()
        process.join()


_CONNECTING, _CONNECTED, _END = "connecting", "connected", "end"
"""What the process that runs Ray sends, apart from the identifiers of finished shards."""


def _in_use() -> str | None:
    """The address of the cluster that this process uses already."""
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().gcs_address)


def _nowhere(address: str, reason: str) -> BlindspaceError:
    place = "this machine" if address == LOCAL else address
    return BlindspaceError(f"no Ray cluster can be had at {place}: {reason}")


def _reach(address: str) -> None:
    """Check that something listens at the address, which is quicker than asking Ray.

    Raises:
        BlindspaceError: Nothing listens there, or the port is not a number.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _nowhere(address, first_line(error)) from error


def _answers(connection: Connection) -> Iterator[str]:
    """What the process sends, until it ends."""
    with suppress(EOFError, ConnectionResetError):
        while True:
            answer = received(connection.recv())
            if answer is not None:
                yield answer[0]


def _drive(job: Job, shards: Sequence[Shard], workers: int | None, address: str, connection: Connection) -> None:
    """The process that runs Ray: it sends the identifier of every finished shard, or an error."""
    prepare(connection)
    # What Ray writes to the terminal is not for users; it keeps its own logs.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        _on_cluster(job, shards, workers, address, lambda answer: connection.send((answer,)))
    except (Exception, SystemExit) as error:
        connection.send(sendable(error))
    connection.send((_END,))


def _on_cluster(
    job: Job, shards: Sequence[Shard], workers: int | None, address: str, tell: Callable[[str], None]
) -> None:
    ray = _ray()
    tell(_CONNECTING)
    cores = workers if address == LOCAL else None
    try:
        ray.init(address, num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise _nowhere(address, first_line(error)) from error
    tell(_CONNECTED)
    try:
        todo = {shard.id: shard for shard in shards}
        for _ in range(ROUNDS):
            for row in _rows(job, list(todo.values()), workers or _cores(ray)):
                if row["trace"]:
                    raise noted(RuntimeError(row["error"]), row["trace"])
                if row["error"]:
                    raise BlindspaceError(row["error"])
                if row["id"] in todo and job.done(todo[row["id"]]) is not None:
                    tell(todo.pop(row["id"]).id)
            if not todo:
                return
        raise BlindspaceError(
            f"the cluster leaves {len(todo)} shards undone; all its nodes must see {job.target} as this one does"
        )
    except ray.exceptions.RayError as error:
        raise BlindspaceError(
            f"Ray gives up: {first_line(error)}; what is done stays done, and the same command resumes"
        ) from error
    finally:
        _settle()
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A thread of Ray Data that outlives the shutdown would otherwise connect to the cluster again.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    library("ray.data", "ray", "the ray engine")
    ray = library("ray", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _settle() -> None:
    """Wait for the threads of Ray Data, since a call from one of them after the shutdown ends the process."""
    for thread in threading.enumerate():
        if thread.name.startswith("StreamingExecutor"):
            thread.join(timeout=60)


def _cores(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


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
        shards = [self.job.shard(json.loads(text)) for text in batch["shard"]]
        told = trace = ""
        try:
            self.worker = self.worker or self.job.worker()
            for shard in shards:
                self.worker.do(shard)
        except (Exception, SystemExit) as error:
            # Returned as a value, since Ray wraps a raised exception in pages of its own traces.
            known = sendable(error)
            told, trace = str(known), "".join(getattr(known, "__notes__", ()))
        return {"id": [shard.id for shard in shards], "error": [told] * len(shards), "trace": [trace] * len(shards)}
