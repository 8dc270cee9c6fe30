"""All test suites, and what came of each of their operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import islice
from math import prod
from zlib import crc32

from judging import Case, Verdict

Operators = Mapping[str, Callable[[], Iterator[Case]]]


def _of(module: str, name: str) -> Callable[[], Operators]:
    """Operators of a module that is imported when they are asked for: torch's own tests take a second or two."""

    def operators() -> Operators:
        found: Operators = getattr(import_module(module), name)()
        return found

    return operators


SUITES: dict[str, Callable[[], Operators]] = {
    "torch operators": _of("torch_suites", "operators"),
    "torch modules": _of("torch_suites", "modules"),
    "ONNX operations": _of("onnx_suites", "operators"),
}
"""From the name of a suite to the cases of its operators."""

WRONG = ("unsound", "uncaught")
"""Outcomes that must not occur."""


def spread(cases: Iterator[Case], most: int) -> list[Case]:
    """At most so many cases, evenly spread over all."""
    found = list(cases)
    return [found[i * len(found) // most] for i in range(most)] if len(found) > most else found


def one(name: str, cases: Iterator[Case], among: int = 8) -> list[Case]:
    """One of the cases with the fewest numbers among the first ones, always the same; none if there are none."""
    found = list(islice(cases, among))
    several = [case for case in found if prod(case.shape) > 1] or found
    fewest = [case for case in several if prod(case.shape) == min(prod(each.shape) for each in several)]
    return [fewest[crc32(name.encode()) % len(fewest)]] if fewest else []


def verdict_of_operator(verdicts: list[Verdict]) -> str:
    """What came of an operator: one word for all its cases."""
    counts = Counter(verdict.outcome for verdict in verdicts if verdict.kind == "affine")
    wrong = [outcome for outcome in WRONG if any(verdict.outcome == outcome for verdict in verdicts)]
    if wrong:
        return wrong[0]
    if len(counts) == 1:
        return next(iter(counts))
    if counts:
        return "in part" if counts["recognised"] or counts["in part"] else "ended"
    left = {verdict.outcome for verdict in verdicts if verdict.kind != "invalid"}
    if not left:
        return "no floating-point input"
    return "not affine: refused" if left == {"refused"} else "not affine: ended"
