"""One shard, from its inputs to its record, by any process on any machine that sees both folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.encoding import SUFFIX
from ..jobs import Done, Journal
from ..perturbations._keyed import Key
from .kinds import kinds
from .protector import Outcome, Protector, Settings
from .source import Picture, Shard


@dataclass(frozen=True)
class Job:
    """The job that every worker receives.

    Attributes:
        root: Folder of the inputs.
        target: Folder of the results.
        settings: The settings of the protection.
        digest: Hash of the settings.
        key: Key of keyed noise; it is not printed.
    """

    root: Path
    target: Path
    settings: Settings
    digest: str
    key: Key | None = None

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
    """Protects shards, one after the other.

    Raises:
        BlindspaceError: The network cannot be loaded.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.journal = Journal(job.target)
        self.kinds = kinds(job.settings.pictures, job.settings.per_shard)
        self.protector = Protector(job.settings, job.key)

    def do(self, shard: Shard) -> Done:
        """Protect one shard, unless it is finished.

        Raises:
            FileError: A result cannot be written.
        """
        known = self.journal.recorded(shard)
        if known is not None:
            return known
        kind = self.kinds[shard.kind]
        suffix = SUFFIX[self.job.settings.file_format]
        with self.journal.recording(shard) as record, kind.writer(self.job.target, shard, suffix) as writer:
            for portion in kind.read(self.job.root, shard):
                outcomes = _together(portion.pictures, self.protector.protect(portion.pictures))
                for name in portion.carried:
                    record.add({"name": name, "carried_over": True}, items=0)
                places = writer.write(portion, [outcome.content for outcome in outcomes])
                for picture, outcome, place in zip(portion.pictures, outcomes, places, strict=True):
                    row = {"name": picture.name, **outcome.evidence, "settings": self.job.digest}
                    if outcome.content is None:
                        record.add({**row, "reason": " ".join(outcome.reason.split())})
                    else:
                        record.add({**row, "output": place.output, "member": place.member})
        return self.journal.done(shard)


def _together(pictures: tuple[Picture, ...], outcomes: list[Outcome]) -> list[Outcome]:
    """The same outcomes, where a group is left out as a whole if one of its pictures is."""
    pairs = list(zip(pictures, outcomes, strict=True))
    lost = {picture.group for picture, outcome in pairs if picture.group and outcome.content is None}
    return [
        replace(
            outcome,
            content=None,
            reason="another picture of its sample is left out",
            evidence={"source_sha256": outcome.evidence["source_sha256"]},
        )
        if outcome.content is not None and picture.group in lost
        else outcome
        for picture, outcome in pairs
    ]
