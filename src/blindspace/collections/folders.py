"""Folders of pictures, one picture per file; subfolders are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..data.recognition import SUFFIXES, Holds
from ..files import readable, writing
from .source import PORTION, Picture, Place, Portion, Shard, with_suffix


class Folders:
    """Pictures in folders.

    Args:
        per_shard: Largest number of pictures per shard; a shard ends before where its files would exceed ``PORTION``.
    """

    holds = Holds.PICTURE
    suffixes: tuple[str, ...] = SUFFIXES

    def __init__(self, per_shard: int) -> None:
        self.per_shard = per_shard

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """Shards of neighbours in the order of names; if two names differ in the suffix only, both keep it."""
        stems = Counter(with_suffix(readable(name), suffix) for name in names)
        for inputs in self._neighbours(root, names):
            told = [readable(name) for name in inputs]
            plain = [with_suffix(name, suffix) for name in told]
            outputs = [new if stems[new] == 1 else name + suffix for name, new in zip(told, plain, strict=True)]
            yield Shard.of(root, "folder", inputs, outputs)

    def _neighbours(self, root: Path, names: Sequence[str]) -> Iterator[list[str]]:
        """The names in groups that are large for small files, which are cheapest together, and short work for large."""
        group: list[str] = []
        size = 0
        for name in names:
            more = (root / name).stat().st_size
            if group and (len(group) == self.per_shard or size + more > PORTION):
                yield group
                group, size = [], 0
            group.append(name)
            size += more
        if group:
            yield group

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """The files as they are, together: that they fit into memory was seen to when the shards were planned."""
        yield Portion(tuple(_picture(root, name) for name in shard.inputs))

    @contextmanager
    def writer(self, target: Path, shard: Shard, suffix: str) -> Iterator[_Files]:
        """One file per picture."""
        yield _Files(target, shard.outputs)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """The file itself."""
        yield "", path.read_bytes()


def _picture(root: Path, name: str) -> Picture:
    try:
        return Picture(readable(name), (root / name).read_bytes())
    except OSError as error:
        return Picture(readable(name), None, f"cannot be read: {error.strerror or error}")


class _Files:
    def __init__(self, target: Path, outputs: Sequence[str]) -> None:
        self.target = target
        self.left = list(outputs)

    def write(self, portion: Portion, contents: Sequence[bytes | None]) -> list[Place]:
        outputs, self.left = self.left[: len(contents)], self.left[len(contents) :]
        for output, content in zip(outputs, contents, strict=True):
            if content is not None:
                with writing(self.target / output) as temporary:
                    temporary.write_bytes(content)
        return [Place(output, "") for output in outputs]
