"""What became of a collection: one line a picture, and the totals. The manifests are made from the shards' records."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from ..files import sha256, writing
from .journal import Journal
from .kinds import Plan

MANIFEST = "manifest.jsonl"
SUMMARY = "manifest.json"

LISTED = 20
"""Pictures named in a summary; all are in the manifest."""


@dataclass(frozen=True)
class Summary:
    """What became of a collection.

    Attributes:
        images: pictures found.
        protected: of them.
        labels_changed: protected ones that the network labels otherwise.
        not_protected: names and reasons of the first ``LISTED`` of the others.
        relabelled: names of the first ``LISTED`` of those labelled otherwise.
        max_output_change: largest of any protected picture, after its file was written and read.
        others: files of the source that are no pictures and were left there.
        shards: units of work.
        done_before: of them, done by an earlier run.
        images_per_second: of this run; 0 where nothing was left to do.
    """

    images: int
    protected: int
    labels_changed: int
    not_protected: dict[str, str]
    relabelled: tuple[str, ...]
    max_output_change: float
    others: tuple[str, ...]
    shards: int
    done_before: int
    images_per_second: float

    @property
    def good(self) -> bool:
        """Whether every picture is protected and read as before."""
        return self.protected == self.images and not self.labels_changed

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "good": self.good}


def close(
    journal: Journal, planned: Plan, settings: dict[str, Any], done_before: int, images_per_second: float
) -> Summary:
    """Write the manifests of a collection of which every shard is done.

    Args:
        journal: of the destination.
        planned: all that was to be done.
        settings: as they were written down.
        done_before: shards done by an earlier run.
        images_per_second: of this run.
    """
    count: Counter[str] = Counter()
    lost: dict[str, str] = {}
    relabelled: list[str] = []
    largest = 0.0
    files: dict[str, str] = {}
    with writing(journal.target / MANIFEST) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for shard in planned.shards:
            for line in journal.rows(shard):
                stream.write(line)
                row = json.loads(line)
                count["images"] += 1
                if "output" not in row:
                    if len(lost) < LISTED:
                        lost[row["name"]] = row["reason"]
                    continue
                count["protected"] += 1
                largest = max(largest, row["max_output_change"])
                if row["label"] != row["label_after"]:
                    count["labels_changed"] += 1
                    relabelled += [row["name"]] * (len(relabelled) < LISTED)
            if shard.kind != "folder":
                files |= journal.done(shard).outputs
    summary = Summary(
        images=count["images"],
        protected=count["protected"],
        labels_changed=count["labels_changed"],
        not_protected=lost,
        relabelled=tuple(relabelled),
        max_output_change=largest,
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
