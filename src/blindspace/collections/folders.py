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
        per_shard: Number of pictures per shard.
    """

    holds = Holds.PICTURE
    suffixes: tuple[str, ...] = SUFFIXES

    def __init__(self, per_shard: int) -> None:
        self.per_shard = per_shard

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """Shards of neighbours in the order of names; if two names differ in the suffix only, both keep it."""
        stems = Counter(with_suffix(readable(name), suffix) for name in names)
        for first in range(0, len(names), self.per_shard):
            inputs = names[first : first + self.per_shard]
            told = [readable(name) for name in inputs]
            plain = [with_suffix(name, suffix) for name in told]
            outputs = [new if stems[new] == 1 else name + suffix for name, new in zip(told, plain, strict=True)]
            yield Shard.of(root, "folder", inputs, outputs)

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """The files as they are."""
        pictures: list[Picture] = []
        size = 0
        for name in shard.inputs:
            try:
                content = (root / name).read_bytes()
            except OSError as error:
                pictures.append(Picture(readable(name), None, f"cannot be read: {error.strerror or error}"))
            else:
                pictures.append(Picture(readable(name), content))
                size += len(content)
            if size >= PORTION:
                yield Portion(tuple(pictures))
                pictures, size = [], 0
        yield Portion(tuple(pictures))

    @contextmanager
    def writer(self, target: Path, shard: Shard, suffix: str) -> Iterator[_Files]:
        """One file per picture."""
        yield _Files(target, shard.outputs)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """The file itself."""
        yield "", path.read_bytes()


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
