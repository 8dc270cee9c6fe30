"""The contract of all kinds of collections: shards of work, the pictures in them, and the writing of results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..data.recognition import Holds

PORTION = 8 << 20
"""Bytes of files that are read at once, and most of a folder's shard; a single larger file is read whole."""


@dataclass(frozen=True)
class Shard:
    """A unit of work: done whole or not at all, by any worker.

    Attributes:
        kind: Name of the kind of collection.
        inputs: Files below the source folder, with / between folders.
        outputs: Files below the destination: one per input of a folder, else a single one.
        part: Row group of a table; None for other kinds.
        forms: Columns of a table that hold pictures, as ``cells.survey`` returns them; empty for other kinds.
        id: Hash of the above and of the inputs' sizes and times, so that a changed input makes another shard.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: int | None
    forms: Mapping[str, str]
    id: str

    @property
    def title(self) -> str:
        """The first of its files."""
        return self.inputs[0]

    @classmethod
    def of(
        cls,
        root: Path,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        part: int | None = None,
        forms: Mapping[str, str] | None = None,
    ) -> Shard:
        """The shard of these files as they are on disk now.

        Raises:
            OSError: A file is missing.
        """
        stats = [(root / name).stat() for name in inputs]
        state = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in zip(inputs, stats, strict=True)]
        made_of = json.dumps([kind, state, list(outputs), part, forms])
        return cls(
            kind, tuple(inputs), tuple(outputs), part, forms or {}, hashlib.sha256(made_of.encode()).hexdigest()[:32]
        )


@dataclass(frozen=True)
class Picture:
    """One picture as it is stored.

    Attributes:
        name: Name, unique in the collection.
        content: Bytes of the file; None if they cannot be read.
        reason: Reason why they cannot be read.
        group: Pictures of one group are kept or left out together; a picture with an empty group stands alone.
    """

    name: str
    content: bytes | None
    reason: str = ""
    group: str = ""


@dataclass(frozen=True)
class Portion:
    """The pictures of a shard that are held in memory together.

    Attributes:
        pictures: The pictures in their order.
        rest: Data that the kind's writer needs to put the results in place.
        carried: Names of what holds pictures and is copied as it is, because the user named others.
    """

    pictures: tuple[Picture, ...]
    rest: Any = None
    carried: tuple[str, ...] = ()


class Place(NamedTuple):
    """The place of one result: a file below the destination and, in files of several results, its name inside."""

    output: str
    member: str


class Writer(Protocol):
    """Writes the results of one shard. A file takes its name when it is complete."""

    def write(self, portion: Portion, contents: Sequence[bytes | None]) -> list[Place]:
        """Put the results of one portion in place.

        Args:
            portion: The portion as it was read.
            contents: Contents of the new files, in their order; None for pictures that are left out.

        Returns:
            The place of each result; meaningless for pictures that are left out.
        """


class Kind(Protocol):
    """One kind of collection.

    Attributes:
        holds: What its files hold.
        suffixes: Endings of names that say so, of files that are damaged.
    """

    holds: Holds
    suffixes: tuple[str, ...]

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """The shards of the files below ``root`` that are of this kind, in order; results get ``suffix``."""

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """The pictures of a shard; unreadable ones are among them, with the reason."""

    def writer(self, target: Path, shard: Shard, suffix: str) -> AbstractContextManager[Writer]:
        """Write the results of a shard below ``target``."""

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """The pictures of one output with their names inside."""


def with_suffix(name: str, suffix: str) -> str:
    """A file's name with another suffix."""
    stem, dot, last = name.rpartition(".")
    return (stem if dot and "/" not in last and stem and not stem.endswith("/") else name) + suffix
