"""The manifests of a collection, made from the shards' records: one line per picture, and the totals."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from .._html import Shown
from ..files import sha256, writing
from ..jobs import Journal
from .kinds import Plan

MANIFEST = "manifest.jsonl"
SUMMARY = "manifest.json"

LISTED = 20
"""Number of pictures named in a summary; the manifest names all."""


@dataclass(frozen=True)
class Summary(Shown):
    """The totals of a collection.

    Attributes:
        images: Number of pictures found.
        protected: Number of protected pictures.
        labels_changed: Number of protected pictures whose label changed; None if the network gives none.
        moved: Number of protected pictures without labels whose outputs moved by more than 1 %.
        not_protected: Names and reasons of the first ``LISTED`` pictures that are not protected.
        relabelled: Names of the first ``LISTED`` pictures whose label changed, or outputs moved.
        max_output_change: Largest change of an output over the protected pictures, measured on the files read back.
        dropped: Number of protected pictures of whose originals something was dropped, by what it was: ``frames``,
            ``pages``, ``transparency``, ``colour profile``, ``depth``.
        carried_over: Names of the first ``LISTED`` members and columns that hold pictures and were copied as they are,
            because the user named others.
        others: Files of the source that hold no pictures and were not copied.
        shards: Number of shards.
        done_before: Number of shards finished by an earlier run.
        images_per_second: Speed of this run; 0 if nothing was left to do.
    """

    images: int
    protected: int
    labels_changed: int | None
    moved: int
    not_protected: dict[str, str]
    relabelled: tuple[str, ...]
    max_output_change: float
    dropped: dict[str, int]
    carried_over: tuple[str, ...]
    others: tuple[str, ...]
    shards: int
    done_before: int
    images_per_second: float

    @property
    def good(self) -> bool:
        """Whether there are pictures, each is protected, and each keeps its label, or without labels its outputs."""
        return 0 < self.protected == self.images and not self.labels_changed and not self.moved

    def to_dict(self) -> dict[str, Any]:
        """The totals as plain values for JSON."""
        return {**asdict(self), "good": self.good}


def close(
    journal: Journal, planned: Plan, settings: dict[str, Any], done_before: int, images_per_second: float
) -> Summary:
    """Write the manifests of a collection whose shards are all finished.

    Args:
        journal: Journal of the destination.
        planned: The plan of the whole work.
        settings: The stored settings.
        done_before: Number of shards finished by an earlier run.
        images_per_second: Speed of this run.
    """
    count: Counter[str] = Counter()
    lost: dict[str, str] = {}
    relabelled: list[str] = []
    carried: list[str] = []
    dropped: Counter[str] = Counter()
    largest = 0.0
    files: dict[str, str] = {}
    with writing(journal.target / MANIFEST) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for shard in planned.shards:
            for line in journal.rows(shard):
                stream.write(line)
                row = json.loads(line)
                if row.get("carried_over"):
                    carried += [row["name"]] * (len(carried) < LISTED)
                    continue
                count["images"] += 1
                if "output" not in row:
                    if len(lost) < LISTED:
                        lost[row["name"]] = row["reason"]
                    continue
                count["protected"] += 1
                dropped.update(what.partition(":")[0] for what in row["dropped"])
                largest = max(largest, row["max_output_change"])
                count["labelled"] += row["label"] is not None
                count["moved"] += row["moved"]
                if row["label"] != row["label_after"]:
                    count["labels_changed"] += 1
                if row["moved"] or row["label"] != row["label_after"]:
                    relabelled += [row["name"]] * (len(relabelled) < LISTED)
            if shard.kind != "folder":
                files |= journal.done(shard).outputs
    summary = Summary(
        images=count["images"],
        protected=count["protected"],
        labels_changed=None if count["protected"] and not count["labelled"] else count["labels_changed"],
        moved=count["moved"],
        not_protected=lost,
        relabelled=tuple(relabelled),
        max_output_change=largest,
        dropped=dict(sorted(dropped.items())),
        carried_over=tuple(carried),
        others=planned.others[:LISTED],
        shards=len(planned.shards),
        done_before=done_before,
        images_per_second=images_per_second,
    )
    of_this_run = ("done_before", "images_per_second")
    told = {name: value for name, value in asdict(summary).items() if name not in of_this_run}
    versions = {name: version(name) for name in ("blindspace", "torch", "numpy", "pillow")}
    whole = {
        "settings": settings,
        "versions": versions,
        **told,
        "files": files,
        "manifest_sha256": sha256(journal.target / MANIFEST),
    }
    with writing(journal.target / SUMMARY) as temporary:
        temporary.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary
