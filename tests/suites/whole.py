"""Run the test suites of torch and ONNX whole and write what comes of each operator; ``make suites`` runs it.

An interrupted run continues where it stopped if it is started again.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import astuple
from pathlib import Path

from judging import Verdict, judge

from blindspace.files import writing
from suites import SUITES, WRONG, spread, verdict_of_operator

ROOT = Path(__file__).parents[2]
JOURNALS = ROOT / "build" / "suites"
TABLES = ROOT / "results" / "suites"
PAGE = ROOT / "docs" / "suites.md"

MOST = 6
"""Cases of one operator; of more, as many are taken, evenly spread."""

ABOUT = (
    "`make suites` runs Blindspace against the operators and modules that torch tests itself with, and against "
    "the backend tests of the ONNX standard. Each floating-point argument of each sample becomes the input of "
    "a network (at most {MOST} of one operator): the operator, then random numbers. What it computes says "
    "whether it is affine and how much of its input it cannot see; the space that the front reports must leave "
    "the outputs as they are. The claim of a network is measured before it is reported; here it is not, so "
    "that the front stands alone."
)

OUTCOMES_MEAN = (
    "An affine operator is *recognised* if all that it cannot see is reported in every case, recognised *in "
    "part* if in some cases or dimensions; at others the front *ends*, which makes the space smaller, or the "
    "network is *refused* in one line. Many of those that end are affine at the sizes of their samples only, "
    "such as a maximum over one number. *Unsound* (outputs move along the space) and *uncaught* (another "
    "exception) must be 0. A row of the tables in `results/suites/` is one operator, with the number of its "
    "cases of each kind and the first message."
)

Found = dict[str, list[Verdict]]


def run(suite: str, journal: Path) -> Found:
    """The verdicts of every operator of a suite; those in the journal are not asked for again."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    lines = journal.read_text().splitlines() if journal.exists() else []
    found: Found = {name: [Verdict(*each) for each in kept] for name, kept in map(json.loads, lines)}
    with journal.open("a") as stream:
        for name, cases in SUITES[suite]().items():
            if name not in found:
                found[name] = [judge(case) for case in spread(cases(), MOST)]
                stream.write(json.dumps([name, [astuple(verdict) for verdict in found[name]]]) + "\n")
                stream.flush()
                print(f"{suite}: {name}: {verdict_of_operator(found[name])}", file=sys.stderr)
    return found


def write_table(found: Found, path: Path) -> None:
    """One row per operator."""
    with writing(path) as partial, partial.open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["operator", "outcome", "affine", "recognised", "in part", "ended", "refused", "others", "why"])
        for name, verdicts in sorted(found.items()):
            affine = Counter(verdict.outcome for verdict in verdicts if verdict.kind == "affine")
            refused = next((verdict.detail for verdict in verdicts if verdict.outcome in ("refused", *WRONG)), "")
            others = sum(verdict.kind not in ("affine", "invalid") for verdict in verdicts)
            counts = [affine[outcome] for outcome in ("recognised", "in part", "ended", "refused")]
            table.writerow([name, verdict_of_operator(verdicts), affine.total(), *counts, others, refused])


OUTCOMES = ("recognised", "in part", "ended", "refused", "not affine: ended", "not affine: refused", *WRONG)


def page(suites: dict[str, Found]) -> str:
    """The page: one row per suite, and the affine operators that are not recognised wholly."""
    lines = [
        "# The test suites of others",
        "",
        *wrapped(ABOUT.format(MOST=MOST)),
        "",
        *wrapped(OUTCOMES_MEAN),
        "",
        "| suite | operators | cases | " + " | ".join(OUTCOMES) + " |",
        "|---|" + "---:|" * (2 + len(OUTCOMES)),
    ]
    for suite, found in suites.items():
        outcomes = Counter(verdict_of_operator(verdicts) for verdicts in found.values())
        cases = sum(verdict.kind != "invalid" for verdicts in found.values() for verdict in verdicts)
        counts = [outcomes[each] for each in OUTCOMES]
        lines.append(f"| {suite} | {sum(counts)} | {cases} | " + " | ".join(map(str, counts)) + " |")
    for suite, found in suites.items():
        lines += ["", f"## {suite}", ""]
        for outcome in ("in part", "ended", "refused"):
            names = sorted(name for name, verdicts in found.items() if verdict_of_operator(verdicts) == outcome)
            lines += wrapped(f"Affine, {outcome}: " + (", ".join(f"`{name}`" for name in names) or "none") + ".")
            lines.append("")
        lines.pop()
    return "\n".join(lines) + "\n"


def wrapped(text: str, width: int = 120) -> list[str]:
    """A paragraph in lines."""
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines


def main(journals: Path = JOURNALS, tables: Path = TABLES, text: Path = PAGE) -> int:
    """Run all suites; returns 1 if an outcome occurred that must not."""
    suites = {suite: run(suite, journals / f"{suite.replace(' ', '-')}.jsonl") for suite in SUITES}
    for suite, found in suites.items():
        write_table(found, tables / f"{suite.replace(' ', '-')}.csv")
    with writing(text) as partial:
        partial.write_text(page(suites))
    for suite in suites:
        (journals / f"{suite.replace(' ', '-')}.jsonl").unlink()
    verdicts = [verdict for found in suites.values() for each in found.values() for verdict in each]
    return int(any(verdict.outcome in WRONG for verdict in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
