"""The journal of finished work, which stays correct after a kill at any moment.

The folder ``.blindspace`` beside the results holds a lock that is released when its process ends in any way, the
settings, and one record per finished shard, which is renamed into place after all results that it lists. A record is
valid only while these results have the hashes that it lists.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FileError
from ..files import sha256, unwritable, writing
from .contract import Done, Shard

OWN = ".blindspace"
"""Folder in the destination."""

PARTIAL = ".partial-*"
"""Half-written files, as of ``files.writing``."""


def inside(name: str) -> bool:
    """Whether a name that was read from a file stays below its folder."""
    return not PurePosixPath(name).is_absolute() and ".." not in name.split("/")


class Journal:
    """The journal of one destination.

    Args:
        target: The destination folder.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.own = target / OWN

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the destination, which is created if it does not exist.

        Raises:
            FileError: Another process holds it, it contains something else, or it cannot be written.
        """
        try:
            if self.target.exists() and not self.own.is_dir() and any(self.target.iterdir()):
                raise FileError(f"{self.target} holds something already; give a new folder")
            self.own.mkdir(parents=True, exist_ok=True)
            lock = (self.own / "lock").open("a")
        except OSError as error:
            raise unwritable(self.target, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FileError(f"another process is at work in {self.target}; wait for it, or stop it") from error
            yield

    def settings(self) -> dict[str, Any] | None:
        """The settings that the destination was begun with; None for a new one.

        Raises:
            FileError: The stored settings cannot be read.
        """
        path = self.own / "settings.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise FileError(f"{path} is damaged; delete {self.target} and begin anew") from error
        if not isinstance(found, dict):
            raise FileError(f"{path} is damaged; delete {self.target} and begin anew")
        return found

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Store the settings, or check that they equal those that the destination was begun with.

        Raises:
            FileError: They differ; the message names the settings that do.
        """
        self.check(settings)
        if self.settings() is None:
            with writing(self.own / "settings.json") as temporary:
                temporary.write_text(json.dumps(settings, indent=2))

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check that the settings equal those that the destination was begun with, if it was begun.

        Raises:
            FileError: They differ; the message names the settings that do.
        """
        found = self.settings()
        if found is None:
            return
        new = json.loads(json.dumps(settings))
        other = [name for name in {**found, **new} if found.get(name) != new.get(name)]
        if other:
            told = ", ".join(f"{name} {found.get(name)!r} instead of {new.get(name)!r}" for name in other)
            raise FileError(f"{self.target} was begun with {told}; give the same, or another folder")

    def kept(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Plain values for JSON that all shards need, worked out once and kept for later runs.

        Args:
            name: Its name, of letters, digits and hyphens; other values have another one.
            make: Makes the values, if an earlier run has not kept them.
        """
        path = self.own / f"{name}.json"
        with suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        made = make()
        with writing(path) as temporary:
            temporary.write_text(json.dumps(made), encoding="utf-8")
        return made

    def sweep(self) -> None:
        """Delete half-written files of killed processes."""
        for path in self.target.rglob(PARTIAL):
            path.unlink(missing_ok=True)

    def finished(self, shards: Iterable[Shard]) -> set[str]:
        """The ids of finished shards; files of unfinished ones are deleted.

        Raises:
            FileError: A file cannot be deleted.
        """
        planned = {shard.id: shard for shard in shards}
        done: set[str] = set()
        try:
            for path in self._records():
                if path.stem not in planned:
                    self._forget(path)
            for shard in planned.values():
                path = self._record(shard.id)
                found = self._read(path)
                if found is not None and self._stands(found):
                    done.add(shard.id)
                else:
                    self._forget(path)
                    for output in shard.outputs:
                        (self.target / output).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(f"cannot clear {error.filename}: {error.strerror or error}") from error
        return done

    @contextmanager
    def recording(self, shard: Shard) -> Iterator[Record]:
        """Write the record of a shard; it becomes valid when the block ends without an exception."""
        with writing(self._record(shard.id)) as temporary, temporary.open("w", encoding="utf-8") as stream:
            record = Record(stream)
            yield record
            outputs = {name: sha256(self.target / name) for name in shard.outputs if (self.target / name).exists()}
            done = Done(shard.id, record.items, outputs)
            stream.write(json.dumps({"done": asdict(done)}) + "\n")

    def recorded(self, shard: Shard) -> Done | None:
        """The record of a shard, whose results are not examined; None if it has none."""
        return self._read(self._record(shard.id))

    def done(self, shard: Shard) -> Done:
        """The record of a finished shard.

        Raises:
            FileError: The record is missing or damaged.
        """
        found = self.recorded(shard)
        if found is None:
            raise FileError(f"the record of {shard.title} in {self.target} is lost; run the command again")
        return found

    def rows(self, shard: Shard) -> Iterator[str]:
        """The lines of a finished shard's record, as they were added."""
        with self._record(shard.id).open(encoding="utf-8") as stream:
            yield from (line for line in stream if not line.startswith('{"done"'))

    def _records(self) -> list[Path]:
        return sorted((self.own / "records").glob("*.jsonl"))

    def _record(self, shard: str) -> Path:
        return self.own / "records" / f"{shard}.jsonl"

    def _read(self, path: Path) -> Done | None:
        """A record; None if it is missing or damaged, or names files outside the destination."""
        try:
            last = path.read_bytes().rstrip().rsplit(b"\n", 1)[-1]
            done = Done(**json.loads(last)["done"])
            safe = all(map(inside, done.outputs))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return done if safe else None

    def _stands(self, done: Done) -> bool:
        with suppress(OSError):
            return all(sha256(self.target / name) == digest for name, digest in done.outputs.items())
        return False

    def _forget(self, record: Path) -> None:
        """Delete a record and the results that it lists."""
        done = self._read(record)
        record.unlink(missing_ok=True)
        for name in done.outputs if done is not None else ():
            (self.target / name).unlink(missing_ok=True)


class Record:
    """The record of a shard while it is written: one line per item or per group of items."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.items = 0

    def add(self, row: Mapping[str, Any], items: int = 1) -> None:
        """Append the outcome of some items, as plain values; none are counted for what is only noted."""
        self.items += items
        self.stream.write(json.dumps(row, ensure_ascii=False) + "\n")
