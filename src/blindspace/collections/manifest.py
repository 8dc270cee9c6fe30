"""The manifests of a collection, made from the shards' records: one line per picture, and the totals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, TypeVar

from .._html import Shown
from ..files import sha256, writing
from ..jobs import Journal
from .kinds import Plan

MANIFEST = "manifest.jsonl"
SUMMARY = "manifest.json"

LISTED = 20
"""Number of pictures named in a summary; the manifest names all."""

OF_THIS_RUN = ("done_before", "images_per_second")
"""What a summary says of one run, and not of the results."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Totals(Shown):
    """The totals of a collection, whatever was done with it.

    Attributes:
        images: Number of pictures found.
        carried_over: Names of the first ``LISTED`` members and columns that hold pictures and were left as they are,
            because the user named others.
        others: The first ``LISTED`` files of the source that hold no pictures.
        shards: Number of shards.
        done_before: Number of shards finished by an earlier run.
        images_per_second: Speed of this run; 0 if nothing was left to do.
    """

    images: int
    carried_over: tuple[str, ...]
    others: tuple[str, ...]
    shards: int
    done_before: int
    images_per_second: float

    @property
    def good(self) -> bool:
        """Whether nothing needs attention; every kind of totals has its own rule."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The totals as plain values for JSON."""
        return {**asdict(self), "good": self.good}


T = TypeVar("T", bound=Totals)

Summarise = Callable[[Iterator[Row]], Mapping[str, Any]]
"""From the lines of all pictures to the totals that ``Totals`` does not have, by their names."""


def close(
    journal: Journal,
    planned: Plan,
    settings: Mapping[str, Any],
    kind: type[T],
    summarise: Summarise,
    done_before: int,
    images_per_second: float,
) -> T:
    """Write the manifests of a collection whose shards are all finished.

    Args:
        journal: Journal of the destination.
        planned: The plan of the whole work.
        settings: The stored settings.
        kind: The kind of totals.
        summarise: Makes its own values of the lines, each of which it reads once.
        done_before: Number of shards finished by an earlier run.
        images_per_second: Speed of this run.
    """
    images = 0
    carried: list[str] = []
    files: dict[str, str] = {}
    with writing(journal.target / MANIFEST) as temporary, temporary.open("w", encoding="utf-8") as stream:

        def rows() -> Iterator[Row]:
            nonlocal images
            for shard in planned.shards:
                for line in journal.rows(shard):
                    stream.write(line)
                    row = json.loads(line)
                    if row.get("carried_over"):
                        carried.extend([row["name"]] * (len(carried) < LISTED))
                        continue
                    images += 1
                    yield row
                if shard.kind != "folder":
                    files.update(journal.done(shard).outputs)

        own = summarise(rows())
    summary = kind(
        images=images,
        **own,
        carried_over=tuple(carried),
        others=planned.others[:LISTED],
        shards=len(planned.shards),
        done_before=done_before,
        images_per_second=images_per_second,
    )
    versions = {name: version(name) for name in ("blindspace", "torch", "numpy", "pillow")}
    whole = {
        "settings": settings,
        "versions": versions,
        **{name: value for name, value in asdict(summary).items() if name not in OF_THIS_RUN},
        "files": files,
        "manifest_sha256": sha256(journal.target / MANIFEST),
    }
    with writing(journal.target / SUMMARY) as temporary:
        temporary.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary
