"""WebDataset shards: tar archives in which neighbouring members of one key make a sample.

What a member holds is decided by its content. Members that hold no picture are copied unchanged, in their places. A
sample with a picture that cannot be protected, or with a member in which pictures may be stored, is left out whole,
since readers of shards expect complete samples.
"""

from __future__ import annotations

import copy
import io
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..data.recognition import Content, Holds, is_named_as_picture, recognise
from ..errors import FileError, first_line
from ..files import readable, writing
from .source import PORTION, Picture, Place, Portion, Shard, with_suffix

DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)


COMPRESSED = (".gz", ".bz2", ".xz")


class _Member(NamedTuple):
    info: tarfile.TarInfo
    content: bytes
    is_picture: bool
    reason: str = ""
    is_carried: bool = False


class Archives:
    """Pictures in tar archives, one archive per shard; compressed archives are written uncompressed.

    Args:
        endings: Endings of members that are pictures, after the key's dot, such as ``jpg``, ``left.png``; if empty,
            their content decides.
    """

    holds = Holds.TAR
    suffixes: tuple[str, ...] = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

    def __init__(self, endings: Sequence[str] = ()) -> None:
        self.endings = tuple(endings)

    def plan(self, root: Path, names: Sequence[str], suffix: str) -> Iterator[Shard]:
        """One archive per shard."""
        plain = [with_suffix(_uncompressed(readable(name)), ".tar") for name in names]
        found = Counter(plain)
        for name, new in zip(names, plain, strict=True):
            yield Shard.of(root, "archive", [name], [new if found[new] == 1 else readable(name) + ".tar"])

    def read(self, root: Path, shard: Shard) -> Iterator[Portion]:
        """The samples in their order; those before the damage if the archive is damaged."""
        path, name = root / shard.inputs[0], readable(shard.inputs[0])
        taken: set[str] = set()
        held: list[list[_Member]] = []
        size = 0
        damage: tuple[Picture, ...] = ()
        try:
            for sample in self._samples(path):
                held.append(sample)
                size += sum(len(member.content) for member in sample)
                if size >= PORTION:
                    yield _portion(name, held, taken)
                    held, size = [], 0
        except DAMAGE as error:
            damage = (Picture(name, None, f"the archive is damaged, the rest of it is lost: {first_line(error)}"),)
        last = _portion(name, held, taken)
        yield Portion(last.pictures + damage, last.rest, last.carried)

    def _samples(self, path: Path) -> Iterator[list[_Member]]:
        sample: list[_Member] = []
        key: str | None = None
        with tarfile.open(path, "r|*") as archive:
            for info in archive:
                stream = archive.extractfile(info) if info.isreg() else None
                archive.members = []  # type: ignore[attr-defined]  # else it remembers every one
                if stream is None and not (info.issym() or info.islnk()):
                    continue  # folders are no part of a sample
                own, ending = _key(info.name)
                if sample and own != key:
                    yield sample
                    sample = []
                key = own
                sample.append(self._member(info, b"" if stream is None else stream.read(), ending))
            whole = _ends_well(archive)
        if sample:
            yield sample
        if not whole:
            raise tarfile.ReadError("it is cut short, or a header in it cannot be read")

    def _member(self, info: tarfile.TarInfo, content: bytes, ending: str) -> _Member:
        if not info.isreg():
            return _Member(info, content, True, "it is a link; store the file itself")
        if self.endings:
            chosen = ending in self.endings
            return _Member(info, content, chosen, is_carried=not chosen and recognise(content).may_hold_pictures)
        found = recognise(content)
        if found.holds is Holds.PICTURE or is_named_as_picture(f".{ending}"):
            return _Member(info, content, True)
        return _Member(info, content, found.may_hold_pictures, _closed(found) if found.may_hold_pictures else "")

    @contextmanager
    def writer(self, target: Path, shard: Shard, suffix: str) -> Iterator[_Archive]:
        """An archive with the same members, the pictures among them replaced."""
        with writing(target / shard.outputs[0]) as temporary, tarfile.open(temporary, "w") as archive:
            yield _Archive(archive, shard.outputs[0], suffix)

    def contents(self, path: Path) -> Iterator[tuple[str, bytes]]:
        """Every member.

        Raises:
            FileError: The archive is damaged.
        """
        try:
            for sample in self._samples(path):
                yield from ((readable(member.info.name), member.content) for member in sample)
        except DAMAGE as error:
            raise FileError(f"{path} is damaged: {first_line(error)}") from error


class _Archive:
    def __init__(self, archive: tarfile.TarFile, output: str, suffix: str) -> None:
        self.archive = archive
        self.output = output
        self.suffix = suffix

    def write(self, portion: Portion, contents: Sequence[bytes | None]) -> list[Place]:
        places = []
        rest = iter(contents)
        for sample in portion.rest:
            files = [next(rest) if member.is_picture else member.content for member in sample]
            names = _renamed(sample, self.suffix)
            if None not in files:
                for member, name, content in zip(sample, names, files, strict=True):
                    self._add(member.info, name, content or b"")
            places += [
                Place(self.output, readable(name))
                for member, name in zip(sample, names, strict=True)
                if member.is_picture
            ]
        # A damaged archive is itself listed, after its pictures.
        return places + [Place(self.output, "")] * (len(contents) - len(places))

    def _add(self, info: tarfile.TarInfo, name: str, content: bytes) -> None:
        new = copy.copy(info)
        new.name, new.size = name, len(content)
        # Attributes of a file system may hold a thumbnail.
        new.pax_headers = {
            word: value
            for word, value in info.pax_headers.items()
            if word not in ("path", "size") and "xattr" not in word
        }
        self.archive.addfile(new, io.BytesIO(content))
        self.archive.members = []  # type: ignore[attr-defined]


def _closed(found: Content) -> str:
    return (
        f"it is {found.what}, in which pictures may be stored; store them as files, or name the endings of pictures "
        "(--pictures), and others are copied as they are"
    )


def _uncompressed(name: str) -> str:
    """The name of an archive without the suffix of its compression."""
    stem = next((name.removesuffix(suffix) for suffix in COMPRESSED if name.endswith(suffix)), name)
    return stem if stem.endswith(".tar") else name


def _ends_well(archive: tarfile.TarFile) -> bool:
    """Whether only the block of zeros that ends an archive follows the last member.

    Python mistakes a truncated or damaged header for the end.
    """
    stream: Any = archive.fileobj
    if stream.tell() < archive.offset + tarfile.BLOCKSIZE:
        return False
    while piece := stream.read(1 << 16):
        if piece.strip(b"\0"):
            return False
    return True


def _key(name: str) -> tuple[str, str]:
    """The key of a member, which is all up to the first dot of the file's name, and its ending."""
    folder, slash, file = name.rpartition("/")
    stem, _, ending = file.partition(".")
    return folder + slash + stem, ending


def _renamed(sample: Sequence[_Member], suffix: str) -> list[str]:
    """Names of a sample's new members; the old ending stays where two names would be equal."""
    new = [with_suffix(member.info.name, suffix) if member.is_picture else member.info.name for member in sample]
    found = Counter(new)
    return [
        name if found[name] == 1 or not member.is_picture else member.info.name + suffix
        for member, name in zip(sample, new, strict=True)
    ]


def _portion(archive: str, samples: list[list[_Member]], taken: set[str]) -> Portion:
    pictures = []
    for number, sample in enumerate(samples):
        for member in sample:
            if not member.is_picture:
                continue
            name = f"{archive}/{readable(member.info.name)}"
            if member.reason and name not in taken:
                taken.add(name)
                pictures.append(Picture(name, None, member.reason, group=str(number)))
            elif name in taken:
                pictures.append(Picture(name, None, "the archive holds a second one of that name", group=str(number)))
            else:
                taken.add(name)
                pictures.append(Picture(name, member.content, group=str(number)))
    carried = tuple(
        f"{archive}/{readable(member.info.name)}" for sample in samples for member in sample if member.is_carried
    )
    return Portion(tuple(pictures), tuple(samples), carried)
