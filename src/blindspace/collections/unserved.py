"""Files in which pictures may be stored, and which are of no kind that is served: they are listed, and stay behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..data.recognition import Holds, recognise_file
from ..errors import FileError
from ..files import readable
from .source import Picture, Place, Portion, Shard


class Unserved:
    """Files that are listed as not protected."""

    holds = Holds.CLOSED
    suffixes: tuple[str, ...] = ()

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """One shard without results."""
        if names:
            yield Shard.of(root, "unserved", names, ())

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """The files as pictures that cannot be read."""
        yield Portion(tuple(Picture(readable(name), None, _reason(root / name)) for name in shard.inputs))

    @contextmanager
    def writer(self, target: Path, shard: Shard, suffix: str) -> Iterator[_Nowhere]:
        """Nothing is written."""
        yield _Nowhere()

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """There are no results.

        Raises:
            FileError: Always.
        """
        raise FileError(f"{path} is no result")


class _Nowhere:
    def write(self, portion: Portion, contents: Sequence[bytes | None]) -> list[Place]:
        return [Place("", "") for _ in contents]


def _reason(path: Path) -> str:
    try:
        what = recognise_file(path).what
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return f"it is {what}, in which pictures may be stored; give them as files, in .tar archives or .parquet tables"
