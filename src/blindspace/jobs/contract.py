"""The contract of work in shards: what is to be done, and who does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol


class Shard(Protocol):
    """A unit of work: done whole or not at all, by any worker. It is a dataclass of plain values.

    Attributes:
        id: A name of letters and digits that another content of the shard would change.
        outputs: Files below the target that its results are written to.
        title: What messages call it.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str: ...  # noqa: D102

    @property
    def outputs(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def title(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Done:
    """A finished shard.

    Attributes:
        shard: Id of the shard.
        items: Number of pictures or samples that were done or tried.
        outputs: Hash of each written file, by its name below the target.
    """

    shard: str
    items: int
    outputs: dict[str, str]


class Worker(Protocol):
    """Does shards, one after the other, in a process of any machine that sees the folders."""

    def do(self, shard: Any) -> Done:
        """Do a shard of its job, unless it is finished: write its results and then what ``Job.done`` finds of it.

        Raises:
            BlindspaceError: It cannot be done.
        """


class Job(Protocol):
    """What every worker receives; it is sent to processes and nodes, so it is small and can be pickled."""

    @property
    def target(self) -> Path:
        """Folder of the results."""

    def shard(self, fields: dict[str, Any]) -> Shard:
        """A shard of the fields of its dataclass, as they come back from JSON."""

    def done(self, shard: Any) -> Done | None:
        """What a worker anywhere has recorded of a shard; None if it is not finished."""

    def worker(self) -> Worker:
        """A worker, made in the process where it works.

        Raises:
            BlindspaceError: What the work needs cannot be loaded.
        """
