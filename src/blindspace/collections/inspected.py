"""The totals of an inspected collection."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .manifest import LISTED, Row, Totals


@dataclass(frozen=True)
class Inspected(Totals):
    """The totals of an inspected collection, beside those of ``Totals``.

    Attributes:
        inspected: Number of inspected pictures.
        suspicious: Number of those whose score is above the threshold.
        most_suspicious: The lines of the ``LISTED`` suspicious pictures of the highest scores, by their names: score,
            p-value and, before a resize, the resizers and the size that each was most likely made for.
        made_for: Number of suspicious pictures by the resizer and size that they were most likely made for, the
            ``LISTED`` most frequent ones.
        not_inspected: Names and reasons of the first ``LISTED`` pictures that could not be inspected.
        dropped: Number of inspected pictures whose files hold what was not read, by what it is: ``frames``, ``pages``,
            ``transparency``, ``colour profile``.
        cleaned: Number of new pictures.
        threshold: The score above which a picture is suspicious.
        false_positives: Rate at which pictures like those of the reference are suspicious.
        reference: What the pictures were compared with, in figures.
    """

    inspected: int
    suspicious: int
    most_suspicious: dict[str, dict[str, Any]]
    made_for: dict[str, int]
    not_inspected: dict[str, str]
    dropped: dict[str, int]
    cleaned: int
    threshold: float
    false_positives: float
    reference: dict[str, Any]

    @property
    def good(self) -> bool:
        """Whether there are pictures, each was inspected, and none is suspicious."""
        return 0 < self.inspected == self.images and not self.suspicious


SHOWN = ("score", "p_value", "made_for")


def summarise(rows: Iterator[Row]) -> dict[str, Any]:
    """The totals of ``Inspected`` that lines of pictures have."""
    count: Counter[str] = Counter()
    most: list[tuple[float, int, Row]] = []
    made_for: Counter[str] = Counter()
    lost: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    for number, row in enumerate(rows):
        if "score" not in row:
            if len(lost) < LISTED:
                lost[row["name"]] = row["reason"]
            continue
        count["inspected"] += 1
        count["cleaned"] += "output" in row
        dropped.update(what.partition(":")[0] for what in row["dropped"])
        if row["suspicious"]:
            count["suspicious"] += 1
            heapq.heappush(most, (row["score"], -number, row))
            if len(most) > LISTED:
                heapq.heappop(most)
            if row.get("made_for"):
                height, width = row["made_for"]["size"]
                made_for[f"{row['made_for']['resizers'][0]} {height}x{width}"] += 1
    shown = [row for _, _, row in sorted(most, reverse=True)]
    return {
        "inspected": count["inspected"],
        "suspicious": count["suspicious"],
        "most_suspicious": {row["name"]: {name: row[name] for name in SHOWN if name in row} for row in shown},
        "made_for": dict(sorted(made_for.items(), key=lambda each: (-each[1], each[0]))[:LISTED]),
        "not_inspected": lost,
        "dropped": dict(sorted(dropped.items())),
        "cleaned": count["cleaned"],
    }
