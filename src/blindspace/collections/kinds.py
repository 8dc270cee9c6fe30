"""The kinds of collections, and the division of a source folder or file into shards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.recognition import Holds, recognise_file
from ..errors import FileError
from ..files import readable
from .archives import Archives
from .folders import Folders
from .source import Kind, Shard
from .tables import Tables
from .unserved import Unserved

PER_SHARD = 256
"""Largest number of files of a folder per shard."""


def kinds(pictures: Sequence[str] = (), per_shard: int = PER_SHARD) -> dict[str, Kind]:
    """Every kind by its name.

    Args:
        pictures: Columns of tables and endings of archives' members that hold pictures; determined from all data if
            empty.
        per_shard: Largest number of files of a folder per shard.
    """
    return {
        "folder": Folders(per_shard),
        "archive": Archives(pictures),
        "table": Tables(pictures),
        "unserved": Unserved(),
    }


def kind_of(output: str) -> Kind:
    """The kind of a result, by its file name."""
    all_kinds = kinds()
    return next((kind for kind in all_kinds.values() if output.endswith(kind.suffixes)), all_kinds["folder"])


@dataclass(frozen=True)
class Plan:
    """The work to be done.

    Attributes:
        root: Folder of the shards' inputs.
        shards: The shards in their order.
        others: Files that hold no pictures, and links to folders; they are not copied.
    """

    root: Path
    shards: tuple[Shard, ...]
    others: tuple[str, ...]


def plan(source: Path, suffix: str | None, kinds: dict[str, Kind]) -> Plan:
    """The shards of a collection: of a folder with all below it, or of one file.

    The kind of a file is determined by its content; hidden files are left out, links to folders are not followed.

    Args:
        source: Folder or file of the collection.
        suffix: Suffix of the pictures' new files; None if none are written.
        kinds: The kinds by name, from ``kinds``.

    Raises:
        FileError: The source is missing, contains no file or one that cannot be read, or two results would have one
            name.
        MissingExtraError: A library that a kind needs is not installed.
    """
    if not source.exists():
        raise FileError(f"{source} does not exist; give a folder of pictures, .tar shards or .parquet tables")
    root = source if source.is_dir() else source.parent
    names = _below(source) if source.is_dir() else [source.name]
    of_kind: dict[str, list[str]] = {name: [] for name in kinds}
    others: list[str] = []
    try:
        for name in names:
            found = _kind(root / name, kinds)
            (others if found is None else of_kind[found]).append(readable(name) if found is None else name)
        shards = [shard for word, kind in kinds.items() for shard in kind.plan(root, of_kind[word], suffix or "")]
    except OSError as error:
        raise FileError(f"cannot read {error.filename or source}: {error.strerror or error}") from error
    if not shards and not others:
        raise FileError(f"there is no picture in {source}: it contains no file")
    if suffix is None:
        shards = [replace(shard, outputs=()) for shard in shards]
    outputs = Counter(output for shard in shards for output in shard.outputs)
    twice = [output for output, count in outputs.items() if count > 1]
    if twice:
        raise FileError(f"two files of {source} would both become {twice[0]}; rename one")
    return Plan(root, tuple(shards), tuple(others))


def _kind(path: Path, kinds: dict[str, Kind]) -> str | None:
    """The kind of a file: by its content, or by its name if the content is damaged; None if it holds no pictures."""
    if path.exists() and not path.is_file():
        return None
    try:
        holds = recognise_file(path).holds
    except OSError:
        if not path.exists():
            raise
        holds = Holds.CLOSED  # it is listed with the reason
    by_content = next((word for word, kind in kinds.items() if kind.holds is holds), None)
    if by_content is not None and holds is not Holds.CLOSED:
        return by_content
    by_name = next((word for word, kind in kinds.items() if path.name.lower().endswith(kind.suffixes)), None)
    return by_name or by_content


def _below(folder: Path) -> list[str]:
    """Every file below, with / between folders, in order."""

    def refuse(error: OSError) -> None:
        raise FileError(f"cannot read the folder {error.filename}: {error.strerror or error}") from error

    found = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "."]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in files + links if name[0] != "."]
    return sorted(found)
