"""Compare the results of a collection with its manifest: every one must be there once, with the recorded hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from .._html import Shown
from ..errors import FileError
from ..files import sha256
from ..jobs.journal import OWN, inside
from .kinds import kind_of
from .manifest import LISTED, MANIFEST, SUMMARY

_OF_JOURNAL = re.compile(re.escape(OWN) + r"/(lock|settings\.json|reference-[0-9a-f]+\.json|records/[0-9a-f]+\.jsonl)")


@dataclass(frozen=True)
class Checked(Shown):
    """The outcome of a check.

    Attributes:
        pictures: Number of results that the manifest names.
        files: Number of files that hold them.
        wrong: Results and files that are missing, changed, duplicate or not in the manifest, each with the fault; the
            first ``LISTED``.
        wrong_in_all: Number of all faults.
    """

    pictures: int
    files: int
    wrong: dict[str, str]
    wrong_in_all: int

    @property
    def good(self) -> bool:
        """Whether no fault was found."""
        return not self.wrong_in_all

    def to_dict(self) -> dict[str, Any]:
        """The outcome as plain values for JSON."""
        return {**asdict(self), "good": self.good}


def check(target: Path) -> Checked:
    """Compare the results of a collection with its manifest.

    Args:
        target: Destination folder of ``protect``, or of an inspection.

    Raises:
        FileError: The manifest is missing, incomplete or damaged.
    """
    try:
        summary = json.loads((target / SUMMARY).read_text(encoding="utf-8"))
        files: dict[str, str] = dict(summary["files"])
        whole = summary["manifest_sha256"] == sha256(target / MANIFEST)
    except FileNotFoundError as error:
        raise FileError(
            f"{error.filename} is missing: {target} is no finished collection; run the command again"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"the manifest of {target} is damaged; run the command again") from error
    if not whole:
        raise FileError(f"{target / MANIFEST} is not the file {SUMMARY} describes; run the command again")
    pictures, seen = 0, set[str]()
    problems: dict[str, str] = {}
    count = 0
    for output, rows in groupby(_rows(target), key=lambda row: str(row["output"])):
        expected = {str(row["member"]): str(row["sha256"]) for row in rows}
        pictures += len(expected)
        found = {"": "named twice"} if output in seen else _wrong(target, output, expected, files.get(output))
        seen.add(output)
        count += len(found)
        problems |= {f"{output}/{member}".rstrip("/"): why for member, why in list(found.items())[:LISTED]}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if not path.is_file() or name in (MANIFEST, SUMMARY) or name in seen or _OF_JOURNAL.fullmatch(name):
            continue
        # An archive without any new picture is named among the files only.
        if files.get(name) != sha256(path):
            count += 1
            problems[name] = "not in the manifest"
    return Checked(pictures, len(seen), dict(list(problems.items())[:LISTED]), count)


def _rows(target: Path) -> Iterator[dict[str, Any]]:
    """The lines of the pictures that have a result."""
    with (target / MANIFEST).open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if "output" in row:
                yield row


def _wrong(target: Path, output: str, expected: dict[str, str], digest: str | None) -> dict[str, str]:
    """The faults of one file, by the names of the pictures in it."""
    if not inside(output):
        return {"": "outside the destination"}
    path = target / output
    if not path.is_file():
        return dict.fromkeys(expected, "missing")
    wrong = {} if digest in (None, sha256(path)) else {"": "changed"}
    there: Counter[str] = Counter()
    try:
        for member, content in kind_of(output).contents(path):
            if member in expected:
                there[member] += 1
                if hashlib.sha256(content).hexdigest() != expected[member]:
                    wrong[member] = "changed"
    except FileError as error:
        wrong[""] = str(error)
    wrong |= {member: "there twice" for member, count in there.items() if count > 1}
    return wrong | {member: "missing" for member in expected if member not in there}
