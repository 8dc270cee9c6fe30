"""The totals of a protected collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .manifest import LISTED, Row, Totals


@dataclass(frozen=True)
class Summary(Totals):
    """The totals of a protected collection, beside those of ``Totals``.

    Attributes:
        protected: Number of protected pictures.
        labels_changed: Number of protected pictures whose label changed; None if the network gives none.
        moved: Number of protected pictures without labels whose outputs moved by more than 1 %.
        not_protected: Names and reasons of the first ``LISTED`` pictures that are not protected.
        relabelled: Names of the first ``LISTED`` pictures whose label changed, or outputs moved.
        max_output_change: Largest change of an output over the protected pictures, measured on the files read back.
        dropped: Number of protected pictures of whose originals something was dropped, by what it was: ``frames``,
            ``pages``, ``transparency``, ``colour profile``, ``depth``.
    """

    protected: int
    labels_changed: int | None
    moved: int
    not_protected: dict[str, str]
    relabelled: tuple[str, ...]
    max_output_change: float
    dropped: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether there are pictures, each is protected, and each keeps its label, or without labels its outputs."""
        return 0 < self.protected == self.images and not self.labels_changed and not self.moved


def summarise(rows: Iterator[Row]) -> dict[str, Any]:
    """The totals of ``Summary`` of the lines of all pictures."""
    count: Counter[str] = Counter()
    lost: dict[str, str] = {}
    relabelled: list[str] = []
    dropped: Counter[str] = Counter()
    largest = 0.0
    for row in rows:
        if "output" not in row:
            if len(lost) < LISTED:
                lost[row["name"]] = row["reason"]
            continue
        count["protected"] += 1
        dropped.update(what.partition(":")[0] for what in row["dropped"])
        largest = max(largest, row["max_output_change"])
        count["labelled"] += row["label"] is not None
        count["moved"] += row["moved"]
        count["labels_changed"] += row["label"] != row["label_after"]
        if row["moved"] or row["label"] != row["label_after"]:
            relabelled += [row["name"]] * (len(relabelled) < LISTED)
    return {
        "protected": count["protected"],
        "labels_changed": None if count["protected"] and not count["labelled"] else count["labels_changed"],
        "moved": count["moved"],
        "not_protected": lost,
        "relabelled": tuple(relabelled),
        "max_output_change": largest,
        "dropped": dict(sorted(dropped.items())),
    }
