"""The kinds of collections, and the division of a source folder or file into shards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError
from .archives import Archives
from .folders import Folders
from .source import Kind, Shard
from .tables import Tables

PER_SHARD = 64
"""Number of files of a folder per shard."""


def kinds(pictures: Sequence[str] = (), per_shard: int = PER_SHARD) -> dict[str, Kind]:
    """Every kind by its name.

    Args:
        pictures: Columns of tables and endings of archives' members that hold pictures; determined from the data if
            empty.
        per_shard: Number of files of a folder per shard.
    """
    return {"folder": Folders(per_shard), "archive": Archives(pictures), "table": Tables(pictures)}


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
        others: Files of no kind, and links to folders; they are not copied.
    """

    root: Path
    shards: tuple[Shard, ...]
    others: tuple[str, ...]


def plan(source: Path, suffix: str, kinds: dict[str, Kind]) -> Plan:
    """The shards of a collection: of a folder with all below it, or of one file.

    Hidden files are left out, links to folders are not followed.

    Args:
        source: Folder or file of the collection.
        suffix: Suffix of the pictures' new files.
        kinds: The kinds by name, from ``kinds``.

    Raises:
        FileError: The source is missing or contains nothing of any kind, or two results would have one name.
        MissingExtraError: A library that a kind needs is not installed.
    """
    if not source.exists():
        raise FileError(f"{source} does not exist; give a folder of pictures, .tar shards or .parquet tables")
    root = source if source.is_dir() else source.parent
    names = _below(source) if source.is_dir() else [source.name]
    of_kind: dict[str, list[str]] = {name: [] for name in kinds}
    others: list[str] = []
    for name in names:
        found = next((word for word, kind in kinds.items() if name.lower().endswith(kind.suffixes)), None)
        (others if found is None else of_kind[found]).append(name)
    try:
        shards = [shard for word, kind in kinds.items() for shard in kind.plan(root, of_kind[word], suffix)]
    except OSError as error:
        raise FileError(f"cannot read {error.filename or source}: {error.strerror or error}") from error
    if not shards:
        accepted = " ".join(suffix for kind in kinds.values() for suffix in kind.suffixes)
        raise FileError(f"there is nothing to protect in {source}; looked for {accepted}")
    outputs = Counter(output for shard in shards for output in shard.outputs)
    twice = [output for output, count in outputs.items() if count > 1]
    if twice:
        raise FileError(f"two files of {source} would both become {twice[0]}; rename one")
    return Plan(root, tuple(shards), tuple(others))


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
