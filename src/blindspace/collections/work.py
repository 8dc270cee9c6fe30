"""One shard, from its inputs to its record, by any process on any machine that sees both folders."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..jobs import Done, Journal
from .kinds import kinds
from .source import Picture, Shard
from .treatment import Outcome, Treatment


@dataclass(frozen=True)
class Job:
    """The job that every worker receives.

    Attributes:
        root: Folder of the inputs.
        target: Folder of the results.
        treatment: What is done with the pictures.
        digest: Hash of the settings.
    """

    root: Path
    target: Path
    treatment: Treatment
    digest: str

    def shard(self, fields: dict[str, Any]) -> Shard:
        """A shard of its fields."""
        return Shard(**fields)

    def done(self, shard: Shard) -> Done | None:
        """The record of a finished shard; None if it has none."""
        return Journal(self.target).recorded(shard)

    def worker(self) -> Worker:
        """A worker of this process. As ``Worker``."""
        return Worker(self)


class Worker:
    """Treats shards, one after the other.

    Raises:
        BlindspaceError: What the work needs cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.journal = Journal(job.target)
        self.kinds = kinds(job.treatment.settings.pictures, job.treatment.settings.per_shard)
        self.handle = job.treatment.handle()

    def do(self, shard: Shard) -> Done:
        """Treat one shard, unless it is finished.

        Raises:
            FileError: A result cannot be written.
        """
        known = self.journal.recorded(shard)
        if known is not None:
            return known
        kind = self.kinds[shard.kind]
        suffix = self.job.treatment.settings.suffix
        writes = nullcontext() if suffix is None else kind.writer(self.job.target, shard, suffix)
        with self.journal.recording(shard) as record, writes as writer:
            for portion in kind.read(self.job.root, shard):
                outcomes = self.handle(portion.pictures)
                if writer is not None:
                    outcomes = _together(portion.pictures, outcomes)
                    places = writer.write(portion, [outcome.content for outcome in outcomes])
                for name in portion.carried:
                    record.add({"name": name, "carried_over": True}, items=0)
                for n, (picture, outcome) in enumerate(zip(portion.pictures, outcomes, strict=True)):
                    row = {"name": picture.name, "source_sha256": _hash(picture), **outcome.known, **outcome.made}
                    row["settings"] = self.job.digest
                    if outcome.reason:
                        row["reason"] = " ".join(outcome.reason.split())
                    if writer is not None and outcome.content is not None:
                        row |= {"output": places[n].output, "member": places[n].member}
                    record.add(row)
        return self.journal.done(shard)


def _hash(picture: Picture) -> str | None:
    return None if picture.content is None else hashlib.sha256(picture.content).hexdigest()


def _together(pictures: tuple[Picture, ...], outcomes: list[Outcome]) -> list[Outcome]:
    """The same outcomes, where a group is left out as a whole if one of its pictures is."""
    pairs = list(zip(pictures, outcomes, strict=True))
    lost = {picture.group for picture, outcome in pairs if picture.group and outcome.content is None}
    return [
        replace(outcome, content=None, made={}, reason="another picture of its sample is left out")
        if outcome.content is not None and picture.group in lost
        else outcome
        for picture, outcome in pairs
    ]
